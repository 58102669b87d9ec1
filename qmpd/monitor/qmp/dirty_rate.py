"""Commands of schema module migration about how much a guest writes: one of qmpd writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError, NotServed
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.migration import QueryDirtyRateArguments

_NEEDS_KVM: Final = (
    "dirty page limit feature requires KVM with accelerator property 'dirty-ring-size' set'"
)


def query_dirty_rate(context: Context, arguments: QueryDirtyRateArguments) -> dict[str, Any]:
    """Nobody has measured anything."""
    return {
        "status": "unstarted",
        "start-time": 0,
        "calc-time": 0,
        "calc-time-unit": arguments.calc_time_unit or "second",
        "sample-pages": 0,
        "mode": "page-sampling",
    }


def calc_dirty_rate(context: Context, _: object) -> None:
    """Measure, which qmpd does not: there is no memory."""
    raise NotServed("The rate at which a guest writes to its memory is not served by qmpd")


def query_vcpu_dirty_limit(context: Context, _: None) -> list[object]:
    """There are no limits."""
    return []


def set_vcpu_dirty_limit(context: Context, _: object) -> None:
    """Limits need KVM."""
    raise GenericError(_NEEDS_KVM)


def cancel_vcpu_dirty_limit(context: Context, _: object) -> None:
    """There are no limits that could be taken away."""


HANDLERS: Final[Handlers] = {
    "query-dirty-rate": query_dirty_rate,
    "calc-dirty-rate": calc_dirty_rate,
    "query-vcpu-dirty-limit": query_vcpu_dirty_limit,
    "set-vcpu-dirty-limit": set_vcpu_dirty_limit,
    "cancel-vcpu-dirty-limit": cancel_vcpu_dirty_limit,
}
