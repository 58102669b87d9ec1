"""HMP commands for the NBD server, and what it exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.io.backends import backends
from qmpd.errors import GenericError, QmpError
from qmpd.export.add import add_nbd_export
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.options.socket_address import parse_socket_address

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


async def nbd_server_start(machine: Machine, arguments: Arguments) -> str:
    """Start the server; with -a, export all disks, and stop it again where one fails."""
    writable = "writable" in arguments
    if writable and "all" not in arguments:
        raise GenericError("-w only valid together with -a")
    rules = machine.profile.rules
    address = parse_socket_address(
        arguments["uri"],
        by_options=rules.holds("addresses-by-options"),
        knows_tcp=not rules.holds("addresses-without-tcp"),
    )
    machine.nbd.start({"addr": address})
    if "all" in arguments:
        try:
            for backend in list(backends(machine.graph)):
                if backend.name and backend.node is not None:
                    await add_nbd_export(machine, backend.name, writable=writable)
        except QmpError:
            await machine.nbd.stop()
            raise
    return ""


def _add(_: Machine, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    return "nbd-server-add", {**arguments, "writable": "writable" in arguments}


def _remove(_: Machine, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    more = {"mode": "hard"} if "force" in arguments else {}
    return "nbd-server-remove", {"name": arguments["name"], **more}


_WRITABLE: Final = Parameter("writable", Kind.FLAG, flag="w")

NBD: Final = (
    HmpCommand(
        "nbd_server_start",
        nbd_server_start,
        (Parameter("all", Kind.FLAG, flag="a"), _WRITABLE, Parameter("uri", Kind.STRING)),
        "[-a] [-w] host:port",
        "start the NBD server, and export all disks",
    ),
    HmpCommand(
        "nbd_server_add",
        None,
        (
            _WRITABLE,
            Parameter("device", Kind.BLOCK_DEVICE),
            Parameter("name", Kind.STRING, optional=True),
        ),
        "[-w] device [name]",
        "export a disk by NBD",
        _add,
    ),
    HmpCommand(
        "nbd_server_remove",
        None,
        (Parameter("force", Kind.FLAG, flag="f"), Parameter("name", Kind.STRING)),
        "[-f] name",
        "take an NBD export away",
        _remove,
    ),
    HmpCommand(
        "nbd_server_stop",
        None,
        (),
        "",
        "stop the NBD server",
        lambda _, __: ("nbd-server-stop", {}),
    ),
)
"""The commands."""
