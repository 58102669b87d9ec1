"""Commands of schema module misc-target: what only x86 has, and a machine of qmpd has not."""

from __future__ import annotations

from typing import Any, Final

from qmpd.errors import GenericError, NotServed
from qmpd.monitor.qmp.handlers import Context, Handlers


def rtc_reset_reinjection(context: Context, _: None) -> None:
    """Forget missed ticks: there are none. Without a clock chip the real program ends."""
    if context.machine.devices.board.type == "none":
        raise NotServed("This machine has no clock chip")


def query_sev(context: Context, _: None) -> dict[str, Any]:
    """The guest is not encrypted."""
    numbers = {"api-major": 0, "api-minor": 0, "build-id": 0}
    kind = {"state": "uninit", "sev-type": "sev", "policy": 0, "handle": 0}
    return {"enabled": False, **numbers, **kind}


def query_sev_launch_measure(context: Context, _: None) -> None:
    """The guest is not encrypted."""
    raise GenericError("SEV launch measurement is not available")


def query_sev_capabilities(context: Context, _: None) -> None:
    """They would need KVM."""
    raise GenericError("KVM not enabled")


def query_sev_attestation_report(context: Context, _: object) -> None:
    """The guest is not encrypted."""
    raise GenericError("SEV is not enabled")


def sev_inject_launch_secret(context: Context, _: object) -> None:
    """The guest is not encrypted."""
    raise GenericError("SEV not enabled for guest")


def query_sgx(context: Context, _: None) -> None:
    """The guest has no enclaves."""
    if context.machine.devices.board.type == "none":
        raise GenericError("SGX is only supported on PC machines")
    raise GenericError("No EPC regions defined, SGX not available")


def query_sgx_capabilities(context: Context, _: None) -> None:
    """The host is not asked: a guest that does nothing needs no enclaves."""
    raise GenericError("Could not open '/dev/sgx_vepc': No such file or directory")


HANDLERS: Final[Handlers] = {
    "rtc-reset-reinjection": rtc_reset_reinjection,
    "query-sev": query_sev,
    "query-sev-launch-measure": query_sev_launch_measure,
    "query-sev-capabilities": query_sev_capabilities,
    "query-sev-attestation-report": query_sev_attestation_report,
    "sev-inject-launch-secret": sev_inject_launch_secret,
    "query-sgx": query_sgx,
    "query-sgx-capabilities": query_sgx_capabilities,
}
