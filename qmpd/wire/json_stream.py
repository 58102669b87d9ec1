"""QEMU's streaming JSON: bytes in, values and errors out, one at a time.

Two ways lead through it.  The fast one is the C scanner of the standard library, for
an object that is whole in the chunk at hand and means the same to both.  Whatever
else there is takes the exact one, `Lexer` and `MessageParser`, which reads every
byte once, however small the pieces are.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from enum import Enum
from json.scanner import make_scanner
from typing import Any, Final, Literal, NoReturn

from qmpd.errors import GenericError, QmpError
from qmpd.wire.lexer import Lexer
from qmpd.wire.parser import COUNT_LIMIT, NESTING_LIMIT, MessageParser
from qmpd.wire.unicode import NONCHARACTER


class _NeedMore(Enum):
    NEED_MORE = "need more"


NEED_MORE: Final = _NeedMore.NEED_MORE
"""What `JsonStream.next` returns when no message is complete."""

_FAST_FAILURES: Final = 16
"""Vain attempts per chunk, so that a chunk of oddities is not scanned again and again."""

_FAST_SIZE: Final = COUNT_LIMIT
"""Longest message of the fast path: too short to exceed a limit on tokens."""

_BLANK: Final = re.compile(r"[ \t\r\n]*")

_ODD_ESCAPE: Final = re.compile(r"\\u(?:d[89a-f]|fd[de]|fff[ef])", re.IGNORECASE)
"""Escapes of surrogates and noncharacters (and more: the exact path sorts it out)."""

_EXPONENT_OF_ZERO: Final = re.compile(r"-?0[eE]")


class _Unusual(Exception):
    """The fast path leaves this message to the exact one."""


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Unusual
    return value


def _integer(text: str) -> int:
    if len(text) > 18:
        raise _Unusual
    return int(text)


def _float(text: str) -> float:
    if _EXPONENT_OF_ZERO.match(text):
        raise _Unusual
    return float(text)


def _constant(text: str) -> NoReturn:
    raise _Unusual


_DECODER: Final[Any] = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
_SCAN: Final[Callable[[str, int], tuple[object, int]]] = make_scanner(_DECODER)


class _Chunk:
    """Bytes as they came, and how far they have been read."""

    __slots__ = ("ascii", "data", "failures", "index", "odd", "text")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.index = 0
        self.failures = 0
        self.ascii = data.isascii()
        self.text = data.decode("latin-1")
        """One character per byte, so that indices are the same."""
        self.odd = b"\\u" in data and _ODD_ESCAPE.search(self.text) is not None

    def scan(self) -> tuple[object] | None:
        """Read the object at the index, if it is whole and plain."""
        if self.odd or self.failures >= _FAST_FAILURES:
            return None
        start = self.index
        try:
            value, end = _SCAN(self.text, start)
            if end - start > NESTING_LIMIT and self._excessive(start, end):
                raise _Unusual
            if not self.ascii:
                value = _rescan(self.data[start:end], value)
        except (_Unusual, ValueError, StopIteration, RecursionError):
            self.failures += 1
            return None
        self.index = end
        return (value,)

    def _excessive(self, start: int, end: int) -> bool:
        """Whether a message may exceed a limit (brackets in strings count, too)."""
        brackets = self.text.count("{", start, end) + self.text.count("[", start, end)
        return end - start > _FAST_SIZE or brackets > NESTING_LIMIT


def _rescan(data: bytes, value: object) -> object:
    """The value of `data`, which was read as Latin-1 so far.

    :raises ValueError: where it is not UTF-8
    """
    if data.isascii():
        return value
    text = data.decode()
    if NONCHARACTER.search(text):
        raise _Unusual
    return _SCAN(text, 0)[0]


class JsonStream:
    """The input of one connection.

    Feed it bytes in pieces of any size; values and errors come out in order, each as
    soon as QEMU would see it: an object with its last bracket, a scalar with the byte
    after it, an invalid token with its first bad byte.
    """

    def __init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._lexer = Lexer()
        self._parser = MessageParser()

    def feed(self, data: bytes) -> None:
        """Take further bytes; nothing is parsed yet."""
        if data:
            self._chunks.append(_Chunk(bytes(data)))

    def next(self) -> tuple[object] | QmpError | Literal[_NeedMore.NEED_MORE]:
        """Read until a value is complete or an error is found.

        :returns: the value, wrapped in a tuple of one; an error of class GenericError with
            QEMU's text; or `NEED_MORE` when all bytes are read
        """
        while self._chunks:
            chunk = self._chunks[0]
            result = self._read(chunk)
            if chunk.index == len(chunk.data):
                self._chunks.popleft()
            if result is not None:
                return result
        return NEED_MORE

    def end(self) -> tuple[object] | QmpError | None:
        """End the input, after the last `NEED_MORE`: what the begun token completes, if anything.

        Call it again until it returns None.  (QEMU does not do this on a monitor.)
        """
        token, text = self._lexer.end()
        if token is not None and (result := self._parser.take(token, text)) is not None:
            return result
        return self._parser.end()

    def _read(self, chunk: _Chunk) -> tuple[object] | QmpError | None:
        if self._lexer.at_start and self._parser.idle:
            blank = _BLANK.match(chunk.text, chunk.index)
            assert blank is not None
            chunk.index = blank.end()
            if chunk.text.startswith("{", chunk.index) and (value := chunk.scan()) is not None:
                return value
        while chunk.index < len(chunk.data):
            token, text, chunk.index = self._lexer.next_token(chunk.data, chunk.index)
            if token is not None and (result := self._parser.take(token, text)) is not None:
                return result
        return None


def parse_json(text: str) -> object:
    """The value of a JSON text on a command line (``-blockdev '{...}'``), in QEMU's dialect.

    :param text: as Python decoded it from the command line (surrogate escapes allowed)
    :raises GenericError: the text is not exactly one JSON value
    """
    stream = JsonStream()
    stream.feed(text.encode(errors="surrogateescape"))
    first: tuple[object] | QmpError | None = None
    while True:
        result: object = stream.next()
        if result is NEED_MORE:
            result = stream.end()
        if result is None:
            break
        assert isinstance(result, tuple | QmpError)
        if first is None:
            first = result
        elif not isinstance(first, QmpError):
            first = GenericError("Expecting at most one JSON value")
    if first is None:
        raise GenericError("Expecting a JSON value")
    if isinstance(first, QmpError):
        raise first
    return first[0]
