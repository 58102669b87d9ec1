"""Headers of replies, in each of the three layouts that a client may have agreed on."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qmpd.base.override import override
from qmpd.block.drivers.protocols.nbd.protocol import (
    CHUNK,
    DONE,
    EXTENDED_CHUNK,
    EXTENDED_REPLY_MAGIC,
    EXTENDED_REQUEST,
    EXTENDED_REQUEST_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    ChunkType,
    Mode,
)

_MAGIC: Final = STRUCTURED_REPLY_MAGIC
_OFFSET: Final = struct.Struct(">Q")
_OFFSET_DATA: Final = int(ChunkType.OFFSET_DATA)
_OFFSET_HOLE: Final = int(ChunkType.OFFSET_HOLE)
_DATA_CHUNK: Final = struct.Struct(CHUNK.format + "Q")
_HOLE_CHUNK: Final = struct.Struct(CHUNK.format + "QI")
_HOLE: Final = struct.Struct(">QI")


class Layout:
    """Simple replies; the base of the others.

    `cookie` says which request a reply is for, and `asked` is that request's offset.
    """

    request = REQUEST
    """Of the header of a request: magic, flags, command, cookie, offset, length."""
    request_magic = REQUEST_MAGIC
    structured = False
    """Whether replies come in chunks, which may tell of holes and of errors in words."""

    def chunk(self, kind: int, cookie: int, asked: int, length: int, *, last: bool) -> bytes:
        """The header of a chunk whose payload has `length` bytes."""
        raise NotImplementedError

    def done(self, cookie: int, asked: int) -> bytes:
        """The reply to a request that has been done and has no data."""
        return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie)

    def data(self, cookie: int, asked: int, offset: int, length: int, *, last: bool) -> bytes:
        """What comes before `length` bytes that were read at `offset`."""
        return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie)

    def hole(self, cookie: int, asked: int, offset: int, length: int, *, last: bool) -> bytes:
        """What tells of a hole at `offset`."""
        raise NotImplementedError


class Structured(Layout):
    """Structured replies."""

    structured = True

    @override
    def chunk(self, kind: int, cookie: int, asked: int, length: int, *, last: bool) -> bytes:
        return CHUNK.pack(_MAGIC, DONE if last else 0, kind, cookie, length)

    @override
    def data(self, cookie: int, asked: int, offset: int, length: int, *, last: bool) -> bytes:
        flags = DONE if last else 0
        return _DATA_CHUNK.pack(
            STRUCTURED_REPLY_MAGIC, flags, _OFFSET_DATA, cookie, length + 8, offset
        )

    @override
    def hole(self, cookie: int, asked: int, offset: int, length: int, *, last: bool) -> bytes:
        flags, size = DONE if last else 0, _HOLE.size
        return _HOLE_CHUNK.pack(_MAGIC, flags, _OFFSET_HOLE, cookie, size, offset, length)


class Extended(Structured):
    """Extended headers, of requests as well."""

    request = EXTENDED_REQUEST
    request_magic = EXTENDED_REQUEST_MAGIC

    @override
    def chunk(self, kind: int, cookie: int, asked: int, length: int, *, last: bool) -> bytes:
        flags = DONE if last else 0
        return EXTENDED_CHUNK.pack(EXTENDED_REPLY_MAGIC, flags, kind, cookie, asked, length)

    @override
    def data(self, cookie: int, asked: int, offset: int, length: int, *, last: bool) -> bytes:
        head = self.chunk(ChunkType.OFFSET_DATA, cookie, asked, length + 8, last=last)
        return head + _OFFSET.pack(offset)

    @override
    def hole(self, cookie: int, asked: int, offset: int, length: int, *, last: bool) -> bytes:
        head = self.chunk(ChunkType.OFFSET_HOLE, cookie, asked, 12, last=last)
        return head + _HOLE.pack(offset, length)

    @override
    def done(self, cookie: int, asked: int) -> bytes:
        return self.chunk(ChunkType.NONE, cookie, asked, 0, last=True)


LAYOUTS: Final[Mapping[Mode, Layout]] = MappingProxyType(
    {Mode.SIMPLE: Layout(), Mode.STRUCTURED: Structured(), Mode.EXTENDED: Extended()}
)
