"""What comes of it when a machine is to be shut down or reset, by its guest or by others.

The rules are those of ``main_loop_should_exit`` and ``qemu_system_guest_panicked``: the reason is a
ShutdownCause, and `Actions` say what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.base.run_state import RunState

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


async def shut_down(machine: Machine, reason: str) -> None:
    """SHUTDOWN; then the machine ends, or stops where it is to be kept (``-no-shutdown``).

    :param reason: ``guest-shutdown``, ``guest-reset``, ...
    """
    if machine.actions.shutdown == "pause":
        machine.emit_shutdown(reason)
        await machine.stop_for(RunState.SHUTDOWN)
    else:
        machine.request_shutdown(reason)


async def reset(machine: Machine, reason: str) -> None:
    """RESET, and the guest begins anew; or the machine is shut down (``-no-reboot``).

    :param reason: ``guest-reset``, ``host-qmp-system-reset``
    """
    if machine.actions.reboot == "shutdown":
        await shut_down(machine, reason)
    else:
        await machine.reset(reason)


async def panic(machine: Machine) -> None:
    """GUEST_PANICKED; then the guest goes on, stops, or the machine is shut down."""
    actions = machine.actions
    if actions.panic == "none":
        machine.events.emit("GUEST_PANICKED", {"action": "run"})
    elif actions.panic == "pause" or actions.shutdown == "pause":
        machine.events.emit("GUEST_PANICKED", {"action": "pause"})
        await machine.stop_for(RunState.GUEST_PANICKED)
    else:
        machine.events.emit("GUEST_PANICKED", {"action": "poweroff"})
        machine.request_shutdown("guest-panic")
