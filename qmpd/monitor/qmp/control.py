"""Commands of schema module control: the monitor itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.wire.encode import Raw

if TYPE_CHECKING:
    from qmpd.profile import Profile
    from qmpd.profile.models.control import QmpCapabilitiesArguments


def qmp_capabilities(context: Context, arguments: QmpCapabilitiesArguments | None) -> None:
    """Leave negotiation mode, with the capabilities the client enables."""
    enable = None if arguments is None else arguments.enable
    assert context.session is not None
    context.session.negotiate(enable or ())


def query_version(context: Context, _: None) -> Raw:
    """Version of QEMU that is emulated; the package names qmpd."""
    return _version(context.machine.profile)


@lru_cache(maxsize=8)
def _version(profile: Profile) -> Raw:
    return Raw({"qemu": profile.version._asdict(), "package": profile.package})


def query_commands(context: Context, _: None) -> list[dict[str, object]]:
    """All commands served, in the order in which the real program lists its own."""
    machine = context.machine
    known = machine.profile.program(machine.personality).commands
    return [{"name": name} for name in known if name in context.handlers]


async def quit_(context: Context, _: None) -> None:
    """End the machine: SHUTDOWN, every job's end, what closing the images says, then the reply."""
    context.machine.request_shutdown("host-qmp-quit")
    await context.machine.close_images()


HANDLERS: Final[Handlers] = {
    "qmp_capabilities": qmp_capabilities,
    "query-version": query_version,
    "query-commands": query_commands,
    "quit": quit_,
}
