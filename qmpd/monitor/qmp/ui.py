"""Commands of schema module ui: displays, of which a machine of qmpd has none, and the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import DeviceNotFound, GenericError
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.ui import ScreendumpArguments


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
    """The mouse of a PC."""
    board = context.machine.devices.board
    if board.type == "none" or board.model == "microvm":
        return []
    return [{"name": "QEMU PS/2 Mouse", "index": 2, "current": True, "absolute": False}]


def query_display_options(context: Context, _: None) -> dict[str, Any]:
    """There is no display, whatever was asked for."""
    return {"type": "none"}


def screendump(context: Context, arguments: ScreendumpArguments) -> None:
    """There is nothing to see (``qmp_screendump``)."""
    head = arguments.head or 0
    if arguments.device is not None:
        if arguments.device not in context.machine.devices.peripheral:
            raise DeviceNotFound(f"Device '{arguments.device}' not found")
        raise GenericError(f"Device {arguments.device} (head {head}) is not bound to a QemuConsole")
    if arguments.head is not None:
        raise GenericError("'head' must be specified together with 'device'")
    raise GenericError("There is no console to take a screendump from")


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
}
