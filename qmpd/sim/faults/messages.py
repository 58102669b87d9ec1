"""Bytes of QMP, cut where one message ends and the next begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_SPACE: Final = b" \t\r\n"


class Piece(NamedTuple):
    """Some bytes of one message.

    :param first: whether the message begins here
    :param last: whether it ends here
    """

    data: bytes
    first: bool
    last: bool


class Messages:
    """Finds the messages in one direction of a connection.

    A message is a JSON object with the white space that follows it at once; what is no JSON goes
    on until an object ends.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._begun = False

    def split(self, data: bytes) -> Iterator[Piece]:
        """Cut what comes next into pieces of messages; all bytes are in one of them."""
        start = at = 0
        while at < len(data):
            end = self._ends(data[at])
            at += 1
            if end:
                while at < len(data) and data[at] in _SPACE:
                    at += 1
                yield self._piece(data[start:at], last=True)
                start = at
        if start < len(data):
            yield self._piece(data[start:], last=False)

    def _piece(self, data: bytes, *, last: bool) -> Piece:
        first, self._begun = not self._begun, not last
        return Piece(data, first, last)

    def _ends(self, byte: int) -> bool:
        """Take a byte; whether a message ends with it."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif byte == 0x5C:
                self._escaped = True
            elif byte == 0x22:
                self._in_string = False
        elif byte == 0x22:
            self._in_string = True
        elif byte in b"{[":
            self._depth += 1
        elif byte in b"}]":
            self._depth = max(0, self._depth - 1)
            return self._depth == 0
        return False


class Chunks:
    """What stands for `Messages` where there are none: each write is a piece of its own."""

    def split(self, data: bytes) -> Iterator[Piece]:
        """All of it."""
        if data:
            yield Piece(data, True, True)
