"""Commands of schema module ui: displays, of which a machine of qmpd has none, and the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.ui import InputSendEventArguments, ScreendumpArguments


def query_vnc(context: Context, _: None) -> dict[str, Any]:
    """There is no VNC server."""
    return {"enabled": False}


def query_vnc_servers(context: Context, _: None) -> list[object]:
    """There is no VNC server."""
    return []


def query_spice(context: Context, _: None) -> dict[str, Any]:
    """There is no SPICE server."""
    return {"enabled": False, "migrated": False, "mouse-mode": "client"}


def query_mice(context: Context, _: None) -> list[dict[str, Any]]:
    """The pointing devices."""
    return context.machine.devices.inputs.mice()


def query_display_options(context: Context, _: None) -> dict[str, Any]:
    """There is no display, whatever was asked for."""
    return {"type": "none"}


def _require_console(context: Context, device: str, head: int) -> NoReturn:
    """Find the console of a display adapter (``qemu_console_lookup_by_device_name``).

    :raises QmpError: always: there is no such device, or it has none
    """
    if device not in context.machine.devices.peripheral:
        raise DeviceNotFound(f"Device '{device}' not found")
    raise GenericError(f"Device {device} (head {head}) is not bound to a QemuConsole")


def screendump(context: Context, arguments: ScreendumpArguments) -> None:
    """There is nothing to see (``qmp_screendump``)."""
    if arguments.device is not None:
        _require_console(context, arguments.device, arguments.head or 0)
    if arguments.head is not None:
        raise GenericError("'head' must be specified together with 'device'")
    raise GenericError("There is no console to take a screendump from")


def send_key(context: Context, _: object) -> None:
    """Press keys: whatever keyboard there is, nobody listens, as in QEMU without a guest."""


def input_send_event(context: Context, arguments: InputSendEventArguments) -> None:
    """Make inputs (``qmp_input_send_event``), which nobody takes notice of."""
    machine = context.machine
    if arguments.device is not None:
        _require_console(context, arguments.device, arguments.head or 0)
    if not machine.running:
        raise GenericError("VM not running")
    for event in arguments.events:
        if not machine.devices.inputs.take(event.type):
            raise GenericError(f"Input handler not found for event type {event.type}")


def display_reload(context: Context, _: object) -> None:
    """There is no VNC server whose files could be read."""
    if context.raw.get("tls-certs"):
        raise GenericError("Can not find vnc display")


HANDLERS: Final[Handlers] = {
    "query-vnc": query_vnc,
    "query-vnc-servers": query_vnc_servers,
    "query-spice": query_spice,
    "query-mice": query_mice,
    "query-display-options": query_display_options,
    "screendump": screendump,
    "display-reload": display_reload,
    "send-key": send_key,
    "input-send-event": input_send_event,
}
