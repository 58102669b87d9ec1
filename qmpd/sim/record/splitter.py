"""Where the messages of a stream begin and end, without a look at what they say."""

from __future__ import annotations

import re
from typing import Final

_OUTSIDE: Final = re.compile(rb"[\"'{}\[\]]")
_IN_STRING: Final = {quote: re.compile(rb"\\|" + re.escape(quote)) for quote in (b'"', b"'")}
_BLANK: Final = b" \t\r\n"
_JUNK: Final = re.compile(rb"[\r\n{\[]")


class Splitter:
    """Takes a stream in pieces of any size and gives back its messages, one by one.

    A message is an object or a list of JSON, as QEMU's monitors read them: strings may be in single
    quotes as well.  What is neither, up to the end of its line, is given back as it is.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._looked = 0
        """How much of the rest belongs to a message that has begun, for certain."""
        self._depth = 0
        self._quote = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; returns the messages that end with them, without the space around them."""
        self._rest += data
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def end(self) -> bytes:
        """What is left of a message that did not end."""
        rest, self._rest = self._rest.strip(_BLANK), b""
        self._looked = self._depth = 0
        self._quote = b""
        return rest

    def _next(self) -> bytes | None:
        if self._depth == 0:
            self._rest = self._rest.lstrip(_BLANK)
            if not self._rest:
                return None
            if self._rest[:1] not in (b"{", b"["):
                return self._junk()
        return self._message()

    def _junk(self) -> bytes | None:
        end = _JUNK.search(self._rest)
        if end is None:
            return None
        return self._take(end.start())

    def _take(self, length: int) -> bytes:
        taken, self._rest = self._rest[:length], self._rest[length:]
        self._looked = self._depth = 0
        return taken

    def _message(self) -> bytes | None:
        rest = self._rest
        while True:
            wanted = _IN_STRING[self._quote] if self._quote else _OUTSIDE
            found = wanted.search(rest, self._looked)
            if found is None:
                self._looked = len(rest)
                return None
            byte = found.group()
            if byte == b"\\":
                if found.end() == len(rest):
                    self._looked = found.start()
                    return None
                self._looked = found.end() + 1
                continue
            self._looked = found.end()
            if self._quote:
                self._quote = b""
            elif byte in _IN_STRING:
                self._quote = byte
            elif byte in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return self._take(self._looked)
