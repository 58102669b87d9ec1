"""QEMU's streaming JSON: bytes in, values and errors out, one at a time.

There are two paths.  The fast one is the C scanner of the standard library, for objects that are
complete in one chunk and that both parsers read alike.  Everything else takes the exact path,
`Lexer` and `MessageParser`, which reads every byte once, however small the chunks are.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import cached_property
from json.scanner import make_scanner
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, overload

from qmpd.errors import GenericError, QmpError
from qmpd.wire.limits import COUNT_LIMIT, NESTING_LIMIT
from qmpd.wire.unicode import NONCHARACTER

if TYPE_CHECKING:
    from qmpd.wire.json_lexer import Lexer
    from qmpd.wire.json_parser import MessageParser


class _NeedMore(Enum):
    NEED_MORE = "need more"


class TooLong(Enum):
    """The type of `TOO_LONG`."""

    TOO_LONG = "too long"


NEED_MORE: Final = _NeedMore.NEED_MORE
"""What `JsonStream.next` returns when no message is complete."""

TOO_LONG: Final = TooLong.TOO_LONG
"""What `JsonStream.next` returns when it would take a while to go on."""

_SHORT: Final = 2048
"""Bytes that the exact path reads without asking."""

_FAST_FAILURES: Final = 16
"""Failures of the fast path after which the rest of a chunk takes the exact one."""

_FAST_SIZE: Final = COUNT_LIMIT
"""Longest message of the fast path, which is too short to exceed the limit on tokens."""

_BLANK: Final = re.compile(r"[ \t\r\n]*")

_ODD_ESCAPE: Final = re.compile(r"\\u(?:d[89a-f]|fd[de]|fff[ef])", re.IGNORECASE)
"""Escapes of surrogates and noncharacters, and some others; the exact path reads them."""

_EXPONENT_OF_ZERO: Final = re.compile(r"-?0[eE]")


class _Unusual(Exception):
    """The message needs the exact path."""


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


def _excessive(text: str, start: int, end: int) -> bool:
    """Whether a message might exceed a limit; brackets in strings are counted too."""
    brackets = text.count("{", start, end) + text.count("[", start, end)
    return end - start > _FAST_SIZE or brackets > NESTING_LIMIT


def _rescan(data: bytes, value: object) -> object:
    """The value of `data`, decoded as UTF-8 instead of Latin-1.

    :raises ValueError: it is not valid UTF-8
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
        self._later: deque[bytes] = deque()
        self._begin(b"")
        self._between = True
        """Whether no message has begun: the fast path is open."""

    @cached_property
    def _exact(self) -> tuple[Lexer, MessageParser]:
        """The exact path; most connections never need it, nor its tables."""
        from qmpd.wire.json_lexer import Lexer
        from qmpd.wire.json_parser import MessageParser

        return Lexer(), MessageParser()

    def _begin(self, data: bytes) -> None:
        """Go on to the next chunk."""
        self._text = data.decode("latin-1")
        """One character per byte, so that indices are the same."""
        self._data = data
        self._index = 0
        self._failures = 0
        if b"\\u" in data and _ODD_ESCAPE.search(self._text):
            self._failures = _FAST_FAILURES

    def feed(self, data: bytes) -> None:
        """Take further bytes; nothing is parsed yet."""
        if self._index < len(self._data):
            self._later.append(data)
        else:
            self._begin(data)

    @overload
    def next(self) -> tuple[object] | QmpError | Literal[_NeedMore.NEED_MORE]: ...

    @overload
    def next(
        self, *, patient: bool
    ) -> tuple[object] | QmpError | Literal[_NeedMore.NEED_MORE, TooLong.TOO_LONG]: ...

    def next(
        self, *, patient: bool = True
    ) -> tuple[object] | QmpError | Literal[_NeedMore.NEED_MORE, TooLong.TOO_LONG]:
        """Read until a value is complete or an error is found.

        :param patient: whether that may take as long as it does
        :returns: the value, wrapped in a tuple of one; an error of class GenericError with
            QEMU's text; `NEED_MORE` when all bytes are read; or `TOO_LONG`
        """
        while True:
            if self._index == len(self._data):
                if not self._later:
                    return NEED_MORE
                self._begin(self._later.popleft())
            if self._between:
                if (value := self._scan()) is not None:
                    return value
                if self._index == len(self._data):
                    continue
            if not patient and self._is_long:
                return TOO_LONG
            if (result := self._read(None if patient else _SHORT)) is not None:
                return result

    @property
    def _is_long(self) -> bool:
        """Whether more than a little has been read of the message that has begun."""
        lexer, parser = self._exact
        return lexer.pending + parser.size > _SHORT

    def _scan(self) -> tuple[object] | None:
        """The fast path: read an object if one is next, whole and plain."""
        text = self._text
        start = self._index
        if text[start] != "{":
            blank = _BLANK.match(text, start)
            assert blank is not None
            self._index = start = blank.end()
            if not text.startswith("{", start):
                return None
        if self._failures == _FAST_FAILURES:
            return None
        try:
            value, end = _SCAN(text, start)
            if end - start > NESTING_LIMIT and _excessive(text, start, end):
                raise _Unusual
            if not text.isascii():
                value = _rescan(self._data[start:end], value)
        except (_Unusual, ValueError, StopIteration, RecursionError):
            self._failures += 1
            return None
        self._index = end + text.startswith("\n", end)
        return (value,)

    def _read(self, most: int | None) -> tuple[object] | QmpError | None:
        """The exact path: read until a message ends, or the chunk.

        :param most: bytes after which it stops as well, with the next token; None: it does not
        """
        data, index = self._data, self._index
        lexer, parser = self._exact
        result = None
        end = len(data) if most is None else min(len(data), index + most)
        while index < end and result is None:
            token, text, index = lexer.next_token(data, index)
            self._index = index
            if token is not None:
                result = parser.take(token, text)
        self._between = lexer.at_start and parser.idle
        return result

    def end(self) -> tuple[object] | QmpError | None:
        """End the input, after the last `NEED_MORE`: what the begun token completes, if anything.

        Call it again until it returns None.  (QEMU does not do this on a monitor.)
        """
        lexer, parser = self._exact
        token, text = lexer.end()
        if token is not None and (result := parser.take(token, text)) is not None:
            return result
        return parser.end()


def parse_json(text: str) -> object:
    """The value of a JSON text on a command line (``-blockdev '{...}'``), in QEMU's dialect.

    :param text: as Python decoded it from the command line (surrogate escapes allowed)
    :raises GenericError: the text is not exactly one JSON value
    """
    return parse_text(JsonStream(), text)


def parse_text(stream: JsonStream, text: str) -> object:
    """The same, by a stream that has read nothing yet."""
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
