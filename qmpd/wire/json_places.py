"""QEMU's JSON as since version 11.0: what is wrong is told at once, and where.

A parse error has the line and the column of its token, counted from the beginning of the stream.
What comes after it is read over until the brackets balance; a bracket that nothing has opened, or
a stray token, ends that at once.

Two columns are not those of the first byte: a token that stands right behind a number or a word,
or right behind what was skipped after a stray token, is told one column further to the right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Final

from qmpd.base.override import override
from qmpd.errors import GenericError, QmpError
from qmpd.wire.json_lexer import Lexer, Token
from qmpd.wire.json_parser import MESSAGE_BYTES, MessageParser, ParseError, Want, stray_reason
from qmpd.wire.json_stream import JsonStream, parse_text

_CLOSING: Final = frozenset((Token.RIGHT_CURLY, Token.RIGHT_SQUARE))


class ImmediateParser(MessageParser):
    """Parses tokens, and tells an error with the token that it is in.

    :param place: tells the line and the column of the token that is taken, given its length
    """

    missing: ClassVar[Mapping[Want, str]] = MappingProxyType(
        {
            Want.LIST_SEPARATOR: "expected ',' or ']'",
            Want.COLON: "expecting ':'",
            Want.DICT_SEPARATOR: "expected ',' or '}'",
        }
    )

    def __init__(self, place: Callable[[int], tuple[int, int]]) -> None:
        super().__init__()
        self._place = place

    @override
    def take(self, token: Token, text: bytes) -> tuple[object] | GenericError | None:
        self._size += len(text)
        self._count += 1
        self._count_brackets(token)
        result: tuple[object] | GenericError | None = None
        if self._error is None:
            if (limit := self._limit_exceeded()) is not None:
                self._fail(limit)
                result = GenericError(f"JSON {limit} limit exceeded")
            else:
                result = self._parse(token, text)
        if not self._curly and not self._square:
            self._reset()
        return result

    def _count_brackets(self, token: Token) -> None:
        """Count what is open; nothing is, behind what cannot be there."""
        if token is Token.LEFT_CURLY:
            self._curly += 1
        elif token is Token.LEFT_SQUARE:
            self._square += 1
        elif token is Token.RIGHT_CURLY and self._curly:
            self._curly -= 1
        elif token is Token.RIGHT_SQUARE and self._square:
            self._square -= 1
        elif token is Token.STRAY or token in _CLOSING:
            self._curly = self._square = 0

    def _parse(self, token: Token, text: bytes) -> tuple[object] | GenericError | None:
        try:
            if token is Token.STRAY:
                raise ParseError(stray_reason(text))
            self._step(token, text)
        except ParseError as error:
            self._fail(error.reason)
            return self._located(error.reason, len(text))
        return None if self._containers else (self._value,)

    @override
    def _step(self, token: Token, text: bytes) -> None:
        is_key = token is Token.STRING
        if (self._want is Want.KEY and not is_key) or (
            self._want is Want.FIRST_KEY and not is_key and token is not Token.RIGHT_CURLY
        ):
            raise ParseError("expecting key")
        super()._step(token, text)

    @override
    def end(self) -> GenericError | None:
        failed, idle = self._error is not None, self.idle
        self._reset()
        return None if failed or idle else self._located("premature end of input", 0)

    def _located(self, reason: str, length: int) -> GenericError:
        line, column = self._place(length)
        return GenericError(f"{line}:{column}: JSON parse error, {reason[:MESSAGE_BYTES]}")


class LocatedStream(JsonStream):
    """The input of one connection, whose parse errors say where they are."""

    def __init__(self) -> None:
        self._line = self._column = 1
        self._data = b""
        super().__init__()

    @cached_property
    @override
    def _exact(self) -> tuple[Lexer, MessageParser]:
        return Lexer(), ImmediateParser(self._place)

    @override
    def _begin(self, data: bytes) -> None:
        before = self._data
        self._line, self._column = self._place_of(len(before))
        if "_exact" in self.__dict__:
            lexer, _ = self._exact
            first, last = lexer.ahead
            lexer.ahead = (first - len(before), last - len(before))
        super()._begin(data)

    def _place(self, length: int) -> tuple[int, int]:
        """The line and the column that are told of the token just read.

        :param length: bytes of its text
        """
        start = self._index - length
        line, column = self._place_of(start)
        return line, column + (start in self._exact[0].ahead)

    def _place_of(self, index: int) -> tuple[int, int]:
        """The line and the column of a byte; negative: of one before the present chunk."""
        if index <= 0 or (newline := self._data.rfind(b"\n", 0, index)) < 0:
            return self._line, self._column + index
        return self._line + self._data.count(b"\n", 0, index), index - newline

    @override
    def end(self) -> tuple[object] | QmpError | None:
        lexer, _ = self._exact
        if not lexer.at_start:
            lexer.ahead = (lexer.ahead[1], self._index)
        return super().end()


def parse_json_with_places(text: str) -> object:
    """`parse_json`, whose errors say where they are."""
    return parse_text(LocatedStream(), text)
