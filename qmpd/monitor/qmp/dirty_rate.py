"""Commands of schema module migration about how much a guest writes: one of qmpd writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.migration import CalcDirtyRateArguments, QueryDirtyRateArguments

_NEEDS_KVM: Final = (
    "dirty page limit feature requires KVM with accelerator property 'dirty-ring-size' set'"
)


def query_dirty_rate(context: Context, arguments: QueryDirtyRateArguments | None) -> dict[str, Any]:
    """The last measurement; until 8.2 there is no unit to ask for."""
    unit = None if arguments is None else arguments.calc_time_unit
    return context.machine.guest_side.dirty_rate.query(unit or "second")


def calc_dirty_rate(context: Context, arguments: CalcDirtyRateArguments) -> None:
    """Begin a measurement."""
    machine = context.machine
    seconds = machine.profile.rules.holds("dirty-rates-are-measured-in-seconds")
    machine.guest_side.dirty_rate.begin(
        arguments.calc_time,
        None if seconds else arguments.calc_time_unit or "second",
        arguments.sample_pages,
        arguments.mode or "page-sampling",
    )


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
