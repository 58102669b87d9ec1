"""What a stream is made of: QEMU's header, then sections.

Sections are framed as QEMU's are, and dirty bitmaps are written as QEMU writes them.  There is
nothing else in a stream of qmpd's that QEMU knows, for its machines have no memory and no state
of devices: so the name of the machine type says that it is one of qmpd's, and each of both refuses
the other's streams by that name.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from qmpd.loop.stream import Channel, Disconnected

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = 0x5145564D
VERSION: Final = 3
VERSION_COMPAT: Final = 2

FOOTER: Final = 0x7E
PREFIX: Final = "qmpd-"
"""What the names of machine types begin with in a stream of qmpd's."""

BITMAPS: Final = "dirty-bitmap"
GLOBAL_STATE: Final = "globalstate"
SECTIONS: Final = {BITMAPS: 1, GLOBAL_STATE: 2}
"""The numbers of the sections that there are."""

PAGE: Final = 4096

MAX_PACKAGE: Final = 1 << 24
"""Bytes that a package may have (``MAX_VM_CMD_PACKAGED_SIZE``)."""


class Section(IntEnum):
    """Types of sections."""

    EOF = 0
    START = 1
    PART = 2
    END = 3
    FULL = 4
    CONFIGURATION = 7
    COMMAND = 8


class Command(IntEnum):
    """Commands to the target."""

    OPEN_RETURN_PATH = 1
    PING = 2
    POSTCOPY_ADVISE = 3
    POSTCOPY_LISTEN = 4
    POSTCOPY_RUN = 5
    PACKAGED = 7


class Answer(IntEnum):
    """Messages of the target."""

    SHUT = 1
    PONG = 2


class StreamError(Exception):
    """A stream cannot be loaded.

    :param code: the errno that is told
    :param complaint: what is said of it besides
    """

    def __init__(self, code: int, complaint: str | None = None) -> None:
        super().__init__(complaint or "")
        self.code = code
        self.complaint = complaint


def header(machine_type: str) -> bytes:
    """The beginning of a stream (``qemu_savevm_state_header``)."""
    name = f"{PREFIX}{machine_type}".encode()
    start = struct.pack(">II", MAGIC, VERSION)
    return start + bytes([Section.CONFIGURATION]) + struct.pack(">I", len(name)) + name


def counted(text: str) -> bytes:
    """A text of at most 255 bytes, with its length in front."""
    data = text.encode()
    return bytes([len(data)]) + data


def section(kind: Section, name: str, parts: Iterable[bytes]) -> bytes:
    """A whole section."""
    number = struct.pack(">I", SECTIONS[name])
    more = (
        counted(name) + struct.pack(">II", 0, 1) if kind in (Section.START, Section.FULL) else b""
    )
    return b"".join((bytes([kind]), number, more, *parts, bytes([FOOTER]), number))


def command(kind: Command, data: bytes = b"") -> bytes:
    """A command, with its arguments."""
    return bytes([Section.COMMAND]) + struct.pack(">HH", kind, len(data)) + data


def advise(*, memory: bool) -> bytes:
    """That the guest may run at its new place before all is there.

    :param memory: whether memory may follow, too; then the sizes of pages are told
    """
    return command(Command.POSTCOPY_ADVISE, struct.pack(">QQ", PAGE, PAGE) if memory else b"")


def package(content: bytes) -> bytes:
    """A stream within the stream, which can be loaded only as a whole."""
    return command(Command.PACKAGED, struct.pack(">I", len(content))) + content


def answer(kind: Answer, value: int) -> bytes:
    """A message of the target."""
    return struct.pack(">HHI", kind, 4, value)


class Input:
    """What a coroutine reads of a stream.

    :param channel: where it comes from
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def read(self, length: int) -> bytes:
        """Wait for `length` bytes.

        :raises Disconnected: the stream ends before
        """
        return await self._channel.read(length)

    async def number(self, length: int) -> int:
        """An unsigned number of `length` bytes."""
        return int.from_bytes(await self.read(length), "big")

    async def text(self) -> str:
        """What `counted` has written."""
        return (await self.read(await self.number(1))).decode("utf-8", "replace")


class Package(Input):
    """A stream within the stream.

    :param content: all of it
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._offset = 0

    async def read(self, length: int) -> bytes:
        """The next `length` bytes.

        :raises Disconnected: there are fewer
        """
        data = self._content[self._offset : self._offset + length]
        if len(data) < length:
            raise Disconnected
        self._offset += length
        return data
