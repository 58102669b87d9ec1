"""From the tokens of one message to a value, with QEMU's errors and message boundaries.

A message ends when its brackets balance, or when there are more closing than opening
ones of a kind; square and curly ones are counted apart.  Its first error is kept
until then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import IntEnum, auto
from json import decoder
from types import MappingProxyType
from typing import Any, ClassVar, Final

from qmpd.errors import GenericError
from qmpd.wire.json_lexer import Token
from qmpd.wire.limits import COUNT_LIMIT, NESTING_LIMIT, SIZE_LIMIT
from qmpd.wire.unicode import STEP, decode_lossy, decode_pieces, is_character, whole_sequences

MESSAGE_BYTES: Final = 1023
"""Length at which QEMU truncates the text of a parse error."""


class Want(IntEnum):
    """What the grammar allows next."""

    VALUE = auto()
    FIRST_ELEMENT = auto()
    ELEMENT = auto()
    LIST_SEPARATOR = auto()
    FIRST_KEY = auto()
    KEY = auto()
    COLON = auto()
    MEMBER = auto()
    DICT_SEPARATOR = auto()


_VALUE_WANTED: Final = frozenset(
    (Want.VALUE, Want.FIRST_ELEMENT, Want.ELEMENT, Want.FIRST_KEY, Want.KEY, Want.MEMBER)
)

_STEPS: Final[Mapping[tuple[Want, Token], Want | None]] = MappingProxyType(
    {
        (Want.FIRST_ELEMENT, Token.RIGHT_SQUARE): None,
        (Want.LIST_SEPARATOR, Token.COMMA): Want.ELEMENT,
        (Want.LIST_SEPARATOR, Token.RIGHT_SQUARE): None,
        (Want.FIRST_KEY, Token.RIGHT_CURLY): None,
        (Want.COLON, Token.COLON): Want.MEMBER,
        (Want.DICT_SEPARATOR, Token.COMMA): Want.KEY,
        (Want.DICT_SEPARATOR, Token.RIGHT_CURLY): None,
    }
)
"""The next state after punctuation; None ends the container."""

_KEYWORDS: Final[Mapping[bytes, bool | None]] = MappingProxyType(
    {b"true": True, b"false": False, b"null": None}
)

_ESCAPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        ord(escape): character
        for escape, character in zip("\"'\\/bfnrt", "\"'\\/\b\f\n\r\t", strict=True)
    }
)

_SIMPLE_ESCAPES: Final = re.compile(
    rb"""(?:\\(?:["\\/bfnrt]|u(?i:(?!d[89a-f]|fd[de]|fff[ef])[0-9a-f]{4}))[^\\"]*){2,4096}"""
)
"""Escapes, and what follows each, that the standard library reads alike."""

_SCAN_STRING: Final[Callable[[str, int, bool], tuple[str, int]]] = vars(decoder)["scanstring"]

_FOUR_HEX: Final = re.compile(rb"[0-9a-fA-F]{4}")
_BACKSLASH: Final = ord("\\")


class ParseError(Exception):
    """A message is not JSON.

    :param reason: the text after ``JSON parse error, ``
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_error(reason: str) -> GenericError:
    """The error that is reported to the client."""
    return GenericError(f"JSON parse error, {reason}")


def read_number(token: Token, text: bytes) -> int | float:
    """The value of a number: an int where 64 bits hold it (unsigned where positive)."""
    if token is Token.INTEGER and len(text) <= 20:
        value = int(text)
        if -(1 << 63) <= value < 1 << 64:
            return value
    return float(text)


def read_string(text: bytes) -> str:
    """The value of a string token, its quotes included.

    :raises ParseError: at the first invalid escape sequence or character
    """
    index, end = 1, len(text) - 1
    if b"\\" not in text:
        return "".join(_decoded(text, index, end))
    parts: list[str] = []
    while index < end:
        if simple := _SIMPLE_ESCAPES.match(text, index, min(index + STEP, end)):
            begin, index = index, whole_sequences(text, simple.end(), end)
            plain = "".join(_decoded(text, begin, index))
            parts.append(_SCAN_STRING(f'{plain}"', 0, False)[0])
        elif text[index] != _BACKSLASH:
            begin, index = index, text.find(b"\\", index, end)
            index = end if index < 0 else index
            parts += _decoded(text, begin, index)
        elif text[index + 1] in _ESCAPES:
            parts.append(_ESCAPES[text[index + 1]])
            index += 2
        elif text[index + 1] == ord("u"):
            character, index = _read_unicode_escape(text, index)
            parts.append(character)
        else:
            raise ParseError("invalid escape sequence in string")
    return "".join(parts)


def _decoded(text: bytes, start: int, end: int) -> list[str]:
    """A part of a string token, in pieces.

    :raises ParseError: it is not UTF-8
    """
    if (pieces := decode_pieces(text, start, end)) is None:
        raise ParseError("invalid UTF-8 sequence in string")
    return pieces


def _read_unicode_escape(text: bytes, start: int) -> tuple[str, int]:
    r"""Read the ``\uXXXX`` at `start`, and the second half of a surrogate pair.

    QEMU takes the four bytes after the ``u`` unseen, the closing quote may be among them.
    """
    digits = _FOUR_HEX.match(text, start + 2)
    code = int(digits[0], 16) if digits else -1
    end = start + 6
    if 0xD800 <= code <= 0xDBFF and text.startswith(b"\\u", end):
        digits = _FOUR_HEX.match(text, end + 2)
        trailing = int(digits[0], 16) if digits else -1
        if 0xDC00 <= trailing <= 0xDFFF:
            code = 0x10000 + ((code & 0x3FF) << 10) + (trailing & 0x3FF)
            end += 6
        else:
            code = -1
    if not is_character(code):
        raise ParseError(f"{decode_lossy(text[start:end])} is not a valid Unicode character")
    return chr(code), end


def stray_reason(text: bytes) -> str:
    """What is wrong with bytes that are not a token."""
    shown, _, _ = text.partition(b"\0")
    return f"stray '{decode_lossy(shown)}'"


class MessageParser:
    """Parses the tokens of a stream into values."""

    missing: ClassVar[Mapping[Want, str]] = MappingProxyType(
        {
            Want.LIST_SEPARATOR: "expected separator in list",
            Want.COLON: "missing : in object pair",
            Want.DICT_SEPARATOR: "expected separator in dict",
        }
    )
    """The error for any other token; where a value is wanted it is `expecting value`."""

    def __init__(self) -> None:
        self._curly = 0
        self._square = 0
        self._size = 0
        self._count = 0
        self._reset()

    def _reset(self) -> None:
        self._curly = self._square = self._size = self._count = 0
        self._error: str | None = None
        self._want = Want.VALUE
        self._value: object = None
        self._containers: list[tuple[Any, Want]] = []
        """The open containers and what was wanted where each one stands."""
        self._keys: list[str] = []
        """The keys whose values are being read."""

    @property
    def idle(self) -> bool:
        """Whether no message has begun."""
        return self._count == 0

    @property
    def size(self) -> int:
        """Bytes of the tokens of the message that has begun."""
        return self._size

    def take(self, token: Token, text: bytes) -> tuple[object] | GenericError | None:
        """Take the next token of the stream.

        :returns: the value that it completes, wrapped; the error that it ends a message with;
            None while the message goes on
        """
        if token is Token.STRAY:
            self._reset()
            return parse_error(stray_reason(text))
        self._curly += (token is Token.LEFT_CURLY) - (token is Token.RIGHT_CURLY)
        self._square += (token is Token.LEFT_SQUARE) - (token is Token.RIGHT_SQUARE)
        self._size += len(text)
        self._count += 1
        if (limit := self._limit_exceeded()) is not None:
            self._reset()
            return GenericError(f"JSON {limit} limit exceeded")
        if self._error is None:
            try:
                self._step(token, text)
            except ParseError as error:
                self._fail(error.reason)
        if self._curly < 0 or self._square < 0 or (self._curly == 0 and self._square == 0):
            return self._finish()
        return None

    def end(self) -> GenericError | None:
        """End the input; returns an error if a message is incomplete."""
        if self.idle:
            return None
        reason = self._error or "premature EOI"
        self._reset()
        return parse_error(reason)

    def _finish(self) -> tuple[object] | GenericError:
        error, value = self._error, self._value
        self._reset()
        return (value,) if error is None else parse_error(error)

    def _limit_exceeded(self) -> str | None:
        if self._size >= SIZE_LIMIT:
            return "token size"
        if self._count > COUNT_LIMIT:
            return "token count"
        if self._curly + self._square > NESTING_LIMIT:
            return "nesting depth"
        return None

    def _fail(self, reason: str) -> None:
        """Keep the error and discard what was read; the rest of the message is only counted."""
        self._error = reason[:MESSAGE_BYTES]
        self._containers.clear()
        self._keys.clear()

    def _step(self, token: Token, text: bytes) -> None:
        step = (self._want, token)
        if step in _STEPS:
            want = _STEPS[step]
            if want is not None:
                self._want = want
                return
            container, self._want = self._containers.pop()
            self._completed(container)
        elif self._want not in _VALUE_WANTED:
            raise ParseError(self.missing[self._want])
        elif token is Token.LEFT_CURLY:
            self._containers.append(({}, self._want))
            self._want = Want.FIRST_KEY
        elif token is Token.LEFT_SQUARE:
            self._containers.append(([], self._want))
            self._want = Want.FIRST_ELEMENT
        else:
            self._completed(_read_scalar(token, text))

    def _completed(self, value: object) -> None:
        """Put a complete value into its container, or make it the result."""
        if self._want is Want.VALUE:
            self._value = value
            return
        container = self._containers[-1][0]
        if self._want in (Want.FIRST_ELEMENT, Want.ELEMENT):
            container.append(value)
            self._want = Want.LIST_SEPARATOR
        elif self._want in (Want.FIRST_KEY, Want.KEY):
            if not isinstance(value, str):
                raise ParseError("key is not a string in object")
            self._keys.append(value)
            self._want = Want.COLON
        else:
            key = self._keys.pop()
            if key in container:
                raise ParseError("duplicate key")
            container[key] = value
            self._want = Want.DICT_SEPARATOR


def _read_scalar(token: Token, text: bytes) -> object:
    if token is Token.STRING:
        return read_string(text)
    if token in (Token.INTEGER, Token.FLOAT):
        return read_number(token, text)
    if token is Token.KEYWORD:
        if text not in _KEYWORDS:
            raise ParseError(f"invalid keyword '{text.decode()}'")
        return _KEYWORDS[text]
    raise ParseError("expecting value")
