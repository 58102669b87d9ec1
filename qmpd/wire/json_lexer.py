"""From bytes to the tokens of QEMU's JSON dialect.

The rules are one literal table, `TRANSITIONS`; the lexer only walks it.  It differs
from RFC 8259 in that strings may be in single quotes, any lower-case word is a
keyword token, a zero takes no exponent, and that it recovers from an error at
the next byte that is likely to start something.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

TOKEN_LIMIT: Final = 64 << 20
"""Largest token, bytes (``MAX_TOKEN_SIZE``)."""


class State(IntEnum):
    """States of the lexer."""

    START = auto()
    DOUBLE_QUOTED = auto()
    DOUBLE_QUOTED_ESCAPE = auto()
    SINGLE_QUOTED = auto()
    SINGLE_QUOTED_ESCAPE = auto()
    SIGN = auto()
    ZERO = auto()
    DIGITS = auto()
    POINT = auto()
    FRACTION = auto()
    EXPONENT = auto()
    EXPONENT_SIGN = auto()
    EXPONENT_DIGITS = auto()
    KEYWORD = auto()
    RECOVERY = auto()


class Token(IntEnum):
    """Kinds of tokens."""

    LEFT_CURLY = auto()
    RIGHT_CURLY = auto()
    LEFT_SQUARE = auto()
    RIGHT_SQUARE = auto()
    COLON = auto()
    COMMA = auto()
    STRING = auto()
    INTEGER = auto()
    FLOAT = auto()
    KEYWORD = auto()
    STRAY = auto()
    """Bytes that are not a token, up to and including the first wrong one."""
    OVERLONG = auto()
    """The first `TOKEN_LIMIT` + 1 bytes of something longer."""


class Ahead(NamedTuple):
    """The byte belongs to the next token: it is read again, in state START."""

    token: Token | None = None
    """The token that has ended before it."""


Target = State | Token | Ahead
Rule = tuple[str | range, Target]

_STRING_BYTES: Final = range(0x20, 0xFE)
_ANY: Final = range(0x100)
_DIGIT: Final = "0123456789"
_DIGIT_1_9: Final = "123456789"
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"

TRANSITIONS: Final[Mapping[State, tuple[Rule, ...]]] = MappingProxyType(
    {
        State.START: (
            (" \t\r\n", State.START),
            ('"', State.DOUBLE_QUOTED),
            ("'", State.SINGLE_QUOTED),
            ("-", State.SIGN),
            ("0", State.ZERO),
            (_DIGIT_1_9, State.DIGITS),
            (_LOWER, State.KEYWORD),
            ("{", Token.LEFT_CURLY),
            ("}", Token.RIGHT_CURLY),
            ("[", Token.LEFT_SQUARE),
            ("]", Token.RIGHT_SQUARE),
            (":", Token.COLON),
            (",", Token.COMMA),
        ),
        State.DOUBLE_QUOTED: (
            (_STRING_BYTES, State.DOUBLE_QUOTED),
            ("\\", State.DOUBLE_QUOTED_ESCAPE),
            ('"', Token.STRING),
        ),
        State.DOUBLE_QUOTED_ESCAPE: ((_STRING_BYTES, State.DOUBLE_QUOTED),),
        State.SINGLE_QUOTED: (
            (_STRING_BYTES, State.SINGLE_QUOTED),
            ("\\", State.SINGLE_QUOTED_ESCAPE),
            ("'", Token.STRING),
        ),
        State.SINGLE_QUOTED_ESCAPE: ((_STRING_BYTES, State.SINGLE_QUOTED),),
        State.SIGN: (("0", State.ZERO), (_DIGIT_1_9, State.DIGITS)),
        State.ZERO: (
            (_ANY, Ahead(Token.INTEGER)),
            (_DIGIT, Token.STRAY),
            (".", State.POINT),
        ),
        State.DIGITS: (
            (_ANY, Ahead(Token.INTEGER)),
            (_DIGIT, State.DIGITS),
            (".", State.POINT),
            ("eE", State.EXPONENT),
        ),
        State.POINT: ((_DIGIT, State.FRACTION),),
        State.FRACTION: (
            (_ANY, Ahead(Token.FLOAT)),
            (_DIGIT, State.FRACTION),
            ("eE", State.EXPONENT),
        ),
        State.EXPONENT: (("+-", State.EXPONENT_SIGN), (_DIGIT, State.EXPONENT_DIGITS)),
        State.EXPONENT_SIGN: ((_DIGIT, State.EXPONENT_DIGITS),),
        State.EXPONENT_DIGITS: (
            (_ANY, Ahead(Token.FLOAT)),
            (_DIGIT, State.EXPONENT_DIGITS),
        ),
        State.KEYWORD: ((_ANY, Ahead(Token.KEYWORD)), (_LOWER, State.KEYWORD)),
        State.RECOVERY: (
            (_ANY, State.RECOVERY),
            (range(0x20), Ahead()),
            ("\t", State.RECOVERY),
            ("[]{}:,", Ahead()),
            (range(0xFE, 0x100), Ahead()),
        ),
    }
)
"""The next state for each state and byte; the last matching rule counts, and a byte without a rule
makes the token a stray one."""


class _Row(NamedTuple):
    """The rules of a state, compiled."""

    targets: tuple[Target, ...]
    stay: re.Pattern[bytes]
    """Matches the bytes that change nothing (perhaps none)."""


def _row(state: State) -> _Row:
    targets: list[Target] = [Token.STRAY] * 0x100
    for where, target in TRANSITIONS[state]:
        for byte in map(ord, where) if isinstance(where, str) else where:
            targets[byte] = target
    staying = b"".join(b"\\x%02x" % byte for byte, to in enumerate(targets) if to is state)
    return _Row(tuple(targets), re.compile(b"[%s]*" % staying if staying else b""))


_ROWS: Final[Mapping[State, _Row]] = MappingProxyType({state: _row(state) for state in State})

_PIECE: Final = 1 << 20
"""Bytes of a token that are kept in one piece until it is complete."""

_TEXTLESS: Final = frozenset((State.START, State.RECOVERY))
"""States whose bytes (white space, or skipped) do not belong to a token."""


class Lexer:
    """The lexer of one stream; it keeps the beginning of an incomplete token."""

    def __init__(self) -> None:
        self._state = State.START
        self._text = bytearray()
        self._before: list[bytes] = []
        """What came before it of a long token: nobody waits for as much to be copied in one go."""
        self._before_bytes = 0
        self.ahead = (-1 << 62, -1 << 62)
        """The last two bytes that were read again: their indices in the data that came last."""

    @property
    def at_start(self) -> bool:
        """Whether no token has begun and no error is being recovered from."""
        return self._state is State.START

    @property
    def pending(self) -> int:
        """Bytes of the token that has begun."""
        return self._before_bytes + len(self._text)

    def next_token(self, data: bytes, index: int) -> tuple[Token | None, bytes, int]:
        """Read `data` from `index` until a token is complete.

        :returns: the token, None where the data ended before; its text; the index to go on at
        """
        state = self._state
        row = _ROWS[state]
        text = self._text
        while index < len(data):
            target = row.targets[data[index]]
            if target is state:
                room = TOKEN_LIMIT + 1 - self._before_bytes - len(text)
                run = row.stay.match(data, index, index + room)
                assert run is not None
                index = run.end()
                if state in _TEXTLESS:
                    continue
                text += run[0]
                if len(text) >= _PIECE:
                    self._put_by()
            elif isinstance(target, Ahead):
                self.ahead = (self.ahead[1], index)
                if target.token is not None:
                    return self._complete(target.token, index)
                state = State.START
                row = _ROWS[state]
                continue
            else:
                text.append(data[index])
                index += 1
                if isinstance(target, Token):
                    return self._complete(target, index)
                state = target
                row = _ROWS[state]
            if self._before_bytes + len(text) > TOKEN_LIMIT:
                return self._complete(Token.OVERLONG, index)
        self._state = state
        return None, b"", index

    def end(self) -> tuple[Token | None, bytes]:
        """End the input; returns the last token, a stray one if it is incomplete."""
        target = _ROWS[self._state].targets[0]
        if self._state in _TEXTLESS:
            self._state = State.START
            return None, b""
        token = target.token if isinstance(target, Ahead) else Token.STRAY
        text = self._complete(token or Token.STRAY, 0)[1]
        self._state = State.START
        return token, text

    def _put_by(self) -> None:
        """Keep what there is of a long token."""
        self._before.append(bytes(self._text))
        self._before_bytes += len(self._text)
        self._text.clear()

    def _complete(self, token: Token, index: int) -> tuple[Token, bytes, int]:
        text = bytes(self._text)
        self._text.clear()
        if self._before:
            # of bytes much is joined without the lock of the interpreter
            text = b"".join([*self._before, text])
            self._before.clear()
            self._before_bytes = 0
        self._state = State.RECOVERY if token is Token.STRAY else State.START
        return token, text, index
