"""Commands of schema module control: the monitor itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.machine.machine import PACKAGE
from qmpd.monitor.qmp.handlers import CommandTable, Context
from qmpd.profile.personality import QEMU_VERSION, known_commands

if TYPE_CHECKING:
    from qmpd.profile.models.control import QmpCapabilitiesArguments

CONTROL = CommandTable()


@CONTROL.command("qmp_capabilities")
def qmp_capabilities(context: Context, arguments: QmpCapabilitiesArguments | None) -> None:
    """Leave negotiation mode, with the capabilities the client enables."""
    enable = None if arguments is None else arguments.enable
    assert context.session is not None
    context.session.negotiate(enable or ())


@CONTROL.command("query-version")
def query_version(context: Context, _: None) -> dict[str, object]:
    """Version of QEMU that is emulated; the package names qmpd."""
    return {"qemu": dict(QEMU_VERSION), "package": PACKAGE}


@CONTROL.command("query-commands")
def query_commands(context: Context, _: None) -> list[dict[str, object]]:
    """All commands served, in the order in which the real program lists its own."""
    from qmpd.monitor.qmp.served import SERVED

    return [
        {"name": name} for name in known_commands(context.machine.personality) if name in SERVED
    ]


@CONTROL.command("quit")
async def quit_(context: Context, _: None) -> None:
    """End the machine: SHUTDOWN, then every job's end, then the reply."""
    context.machine.request_shutdown("host-qmp-quit")
    await context.machine.end_jobs()
