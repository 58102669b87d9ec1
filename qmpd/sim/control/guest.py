"""Commands of schema module sim-guest about the guest: what it does, answers, and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.loop.clock import NANOSECONDS
from qmpd.sim.control.context import Context, Handlers
from qmpd.sim.guests.disk import GuestDisk
from qmpd.sim.guests.workload import Workload

if TYPE_CHECKING:
    from qmpd.profile.control.models.sim_guest import (
        XSimGuestActionsArguments,
        XSimGuestArguments,
        XSimGuestOnPowerdownArguments,
        XSimGuestOnUnplugArguments,
        XSimWorkloadCheckArguments,
        XSimWorkloadStartArguments,
        XSimWorkloadStopArguments,
    )


async def guest(context: Context, arguments: XSimGuestArguments) -> None:
    """Have the guest do something."""
    who = context.bench.guest
    does = {"shutdown": who.shut_down, "reboot": who.reboot, "panic": who.panic}
    await does[arguments.operation]()


def guest_actions(context: Context, arguments: XSimGuestActionsArguments) -> None:
    """Say what is done about it."""
    context.bench.guest.set_actions(
        reboot=arguments.reboot, shutdown=arguments.shutdown, panic=arguments.panic
    )


def guest_on_powerdown(context: Context, arguments: XSimGuestOnPowerdownArguments) -> None:
    """Say what it does when the power button is pressed."""
    context.bench.guest.on_powerdown(arguments.answer, arguments.delay or 0.0)


def guest_on_unplug(context: Context, arguments: XSimGuestOnUnplugArguments) -> None:
    """Say what it does when it is asked to let go of a device."""
    device = "*" if arguments.device is None else arguments.device
    context.bench.guest.on_unplug(arguments.answer, device, arguments.delay or 0.0)


def _info(name: str, workload: Workload) -> dict[str, Any]:
    """SimWorkload."""
    return {
        "id": name,
        "disk": workload.disk,
        "seed": workload.seed,
        "writes": len(workload.writes),
        "errors": sum(write.error is not None for write in workload.writes),
        "done": workload.done,
    }


def _find(context: Context, name: str) -> Workload:
    workloads = context.workloads
    if name not in workloads:
        known = ", ".join(workloads) or "none"
        raise LookupError(f"there is no workload '{name}' (workloads: {known})")
    return workloads[name]


def workload_start(context: Context, arguments: XSimWorkloadStartArguments) -> dict[str, Any]:
    """Begin to write."""
    interval = 0.01 if arguments.interval is None else arguments.interval
    offset = arguments.offset or 0
    length = arguments.length
    if length is None:
        length = GuestDisk(context.bench, arguments.disk).size() - offset
    workload = Workload(
        context.bench,
        arguments.disk,
        arguments.seed,
        writes=100 if arguments.writes is None else arguments.writes,
        size=4096 if arguments.size is None else arguments.size,
        region=(offset, length),
        interval=round(interval * NANOSECONDS),
    )
    name = f"workload{len(context.workloads)}"
    context.workloads[name] = workload
    workload.start()
    return _info(name, workload)


def query_workloads(context: Context, _: None) -> list[dict[str, Any]]:
    """All workloads."""
    return [_info(name, workload) for name, workload in context.workloads.items()]


def workload_stop(context: Context, arguments: XSimWorkloadStopArguments) -> dict[str, Any]:
    """Write no more."""
    workload = _find(context, arguments.id)
    workload.stop()
    return _info(arguments.id, workload)


async def workload_check(context: Context, arguments: XSimWorkloadCheckArguments) -> None:
    """Check that a disk has what was written."""
    try:
        await _find(context, arguments.id).check(arguments.disk)
    except AssertionError as error:
        raise GenericError(str(error)) from None


HANDLERS: Final[Handlers] = {
    "x-sim-guest": guest,
    "x-sim-guest-actions": guest_actions,
    "x-sim-guest-on-powerdown": guest_on_powerdown,
    "x-sim-guest-on-unplug": guest_on_unplug,
    "x-sim-workload-start": workload_start,
    "x-sim-query-workloads": query_workloads,
    "x-sim-workload-stop": workload_stop,
    "x-sim-workload-check": workload_check,
}
