"""Commands of schema module char: character devices."""

from __future__ import annotations

import base64
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.machine.chardevs import backend_names
from qmpd.monitor.qmp.handlers import Context, Handlers
from qmpd.wire.unicode import decode_lossy, encode

if TYPE_CHECKING:
    from qmpd.profile.models.char import (
        ChardevRemoveArguments,
        ChardevSendBreakArguments,
        RingbufReadArguments,
        RingbufWriteArguments,
    )

LONG: Final = 1 << 16
"""Bytes, or characters, from which on a thread reads or shows them: steps of it hold nobody up."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\n]*")


def query_chardev(context: Context, _: None) -> list[dict[str, Any]]:
    """All character devices of the process."""
    return context.machine.host.chardevs.infos()


def query_chardev_backends(context: Context, _: None) -> list[dict[str, Any]]:
    """The kinds of backends that the program has, which chardev-add may refuse all the same."""
    machine = context.machine
    names = backend_names(machine.profile, machine.personality)
    return [{"name": name} for name in reversed(names)]


def chardev_add(context: Context, _: Any) -> dict[str, Any]:
    """Make a character device."""
    label, backend = context.raw["id"], context.raw["backend"]
    chardevs, take = context.machine.host.chardevs, context.descriptors.take
    return chardevs.make(label, backend["type"], backend["data"], take)


def chardev_change(context: Context, _: Any) -> dict[str, Any]:
    """Put another backend behind a character device."""
    label, backend = context.raw["id"], context.raw["backend"]
    chardevs, take = context.machine.host.chardevs, context.descriptors.take
    return chardevs.change(label, backend["type"], backend["data"], take)


def chardev_remove(context: Context, arguments: ChardevRemoveArguments) -> None:
    """Close a character device."""
    context.machine.host.chardevs.remove(arguments.id)


def chardev_send_break(context: Context, arguments: ChardevSendBreakArguments) -> None:
    """Send a break to what uses a character device."""
    context.machine.host.chardevs.send_break(arguments.id)


async def ringbuf_write(context: Context, arguments: RingbufWriteArguments) -> None:
    """Write to a ring buffer."""
    chardevs = context.machine.host.chardevs
    chardevs.ringbuf_write(arguments.device, b"")
    read = partial(_decode if arguments.format == "base64" else encode, arguments.data)
    if len(arguments.data) < LONG:
        data = read()
    else:
        data = await context.machine.host.apart.do(read)
    chardevs.ringbuf_write(arguments.device, data)


def _decode(text: str) -> bytes:
    """What base64 text means (``qbase64_decode``), by four characters, as GLib reads it.

    :raises GenericError: there is something else in it
    """
    for start in range(0, len(text), LONG):
        if _BASE64.fullmatch(text, start, min(start + LONG, len(text))) is None:
            raise GenericError("Base64 data contains invalid characters")
    text = text.replace("\n", "")
    pieces: list[bytes] = []
    for start in range(0, len(text) - 3, LONG):
        step = text[start : start + LONG]
        if "=" in step:
            pieces += [_three(step[at : at + 4]) for at in range(0, len(step) - 3, 4)]
        else:
            pieces.append(base64.b64decode(step[: len(step) // 4 * 4]))
    return b"".join(pieces)


def _three(group: str) -> bytes:
    """The bytes of four characters."""
    whole = base64.b64decode(group.replace("=", "A"))
    return whole[: 1 + (group[2] != "=") + (group[3] != "=")]


async def ringbuf_read(context: Context, arguments: RingbufReadArguments) -> str:
    """Take bytes out of a ring buffer."""
    data = context.machine.host.chardevs.ringbuf_read(arguments.device, arguments.size)
    show = partial(_encoded if arguments.format == "base64" else _shown, data)
    return show() if len(data) < LONG else await context.machine.host.apart.do(show)


def _encoded(data: bytes) -> str:
    step = LONG * 3
    steps = (data[start : start + step] for start in range(0, len(data), step))
    return "".join(base64.b64encode(each).decode("ascii") for each in steps)


def _shown(data: bytes) -> str:
    return decode_lossy(data.partition(b"\0")[0])


HANDLERS: Final[Handlers] = {
    "query-chardev": query_chardev,
    "query-chardev-backends": query_chardev_backends,
    "chardev-add": chardev_add,
    "chardev-change": chardev_change,
    "chardev-remove": chardev_remove,
    "chardev-send-break": chardev_send_break,
    "ringbuf-read": ringbuf_read,
    "ringbuf-write": ringbuf_write,
}
