"""HMP commands for character devices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.machine.chardevs import backend_names
from qmpd.monitor.descriptors import Descriptors
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.monitor.hmp.reading import read
from qmpd.options import groups
from qmpd.options.chardev_backend import parse_backend
from qmpd.options.qemu_opts import Opts, help_text, parse_opts
from qmpd.wire.unicode import decode_lossy, encode

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


class _Refused(Exception):
    """The options cannot be read; `shown` is what the monitor shows."""

    def __init__(self, shown: str) -> None:
        super().__init__(shown)
        self.shown = shown


async def _parse(machine: Machine, text: str) -> tuple[Opts, str]:
    """The options, and what is shown while they are read (``qemu_opts_parse_noisily``)."""
    shown: list[str] = []

    def warn(text: str, hint: str | None) -> None:
        shown.append(f"warning: {text}\n" + (f"{hint}\n" if hint else ""))

    failed = "Error: Parsing chardev args failed\n"
    try:
        ids = machine.host.chardevs.named
        parse = partial(parse_opts, groups.CHARDEV, text, warn, ids=ids)
        opts = await read(machine, text, parse)
    except GenericError as error:
        raise _Refused("".join(shown) + error.report + failed) from None
    if opts.wants_help:
        machine.host.print(help_text(groups.CHARDEV))
        raise _Refused("".join(shown) + failed)
    return opts, "".join(shown)


def _kind(machine: Machine, opts: Opts) -> tuple[str, dict[str, Any]]:
    backend = opts.get("backend")
    if backend is None:
        raise GenericError(f'chardev: "{opts.id or "(null)"}" missing backend')
    if backend not in backend_names(machine.profile, machine.personality):
        raise GenericError(f"'{backend}' is not a valid char driver name")
    return parse_backend(opts)


async def chardev_add(machine: Machine, arguments: Arguments) -> str:
    """Make a character device."""
    if arguments["args"] in ("help", "?"):
        listed = backend_names(machine.profile, machine.personality)
        names = "".join(f"\n  {name}" for name in listed)
        return f"Available chardev backend types: {names}\n"
    try:
        opts, shown = await _parse(machine, arguments["args"])
    except _Refused as refused:
        return refused.shown
    if opts.id is None:
        raise GenericError("chardev: no id specified")
    kind, data = _kind(machine, opts)
    return shown + machine.host.chardevs.make_by_options(
        opts.id, kind, data, mux=opts.flag("mux"), take=Descriptors().take
    )


async def chardev_change(machine: Machine, arguments: Arguments) -> str:
    """Put another backend behind a character device."""
    try:
        opts, shown = await _parse(machine, arguments["args"])
    except _Refused as refused:
        return refused.shown
    if opts.id is not None:
        raise GenericError("Unexpected 'id' parameter")
    kind, data = _kind(machine, opts)
    if kind == "memory":
        # another name for the same, which QEMU knows only where it makes a new one
        kind = "ringbuf"
    machine.host.chardevs.change(arguments["id"], kind, data, Descriptors().take)
    return shown


async def chardev_remove(machine: Machine, arguments: Arguments) -> str:
    """Close a character device."""
    machine.host.chardevs.remove(arguments["id"])
    return ""


async def chardev_send_break(machine: Machine, arguments: Arguments) -> str:
    """Send a break."""
    machine.host.chardevs.send_break(arguments["id"])
    return ""


async def ringbuf_write(machine: Machine, arguments: Arguments) -> str:
    """Write to a ring buffer."""
    data: str = arguments["data"]
    machine.host.chardevs.ringbuf_write(arguments["device"], encode(data))
    return ""


async def ringbuf_read(machine: Machine, arguments: Arguments) -> str:
    """Show what is in a ring buffer."""
    data = machine.host.chardevs.ringbuf_read(arguments["device"], arguments["size"] & 0xFFFFFFFF)
    return "".join(map(_shown, decode_lossy(data.partition(b"\0")[0]))) + "\n"


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if (character < " " and character not in "\n\t") or character == "\x7f":
        return f"\\u{ord(character):04X}"
    return character


async def info_chardev(machine: Machine, _: Arguments) -> str:
    """List the character devices."""
    infos = machine.host.chardevs.infos()
    return "".join(f"{info['label']}: filename={info['filename']}\n" for info in infos)


_ID: Final = Parameter("id", Kind.STRING)
_ARGS: Final = Parameter("args", Kind.STRING)
_DEVICE: Final = Parameter("device", Kind.STRING)

CHARDEVS: Final = (
    HmpCommand("chardev-add", chardev_add, (_ARGS,), "args", "make a character device"),
    HmpCommand(
        "chardev-change",
        chardev_change,
        (_ID, _ARGS),
        "id args",
        "put another backend behind a character device",
    ),
    HmpCommand("chardev-remove", chardev_remove, (_ID,), "id", "close a character device"),
    HmpCommand(
        "chardev-send-break",
        chardev_send_break,
        (_ID,),
        "id",
        "send a break to what uses a character device",
    ),
    HmpCommand(
        "ringbuf_write",
        ringbuf_write,
        (_DEVICE, Parameter("data", Kind.STRING)),
        "device data",
        "write to a ring buffer",
    ),
    HmpCommand(
        "ringbuf_read",
        ringbuf_read,
        (_DEVICE, Parameter("size", Kind.INTEGER32)),
        "device size",
        "show what is in a ring buffer",
    ),
)
"""The commands."""
