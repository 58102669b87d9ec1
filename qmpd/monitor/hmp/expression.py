"""Integer arguments of HMP commands, which may be expressions (``get_expr``)."""

from __future__ import annotations

import re
from typing import Final

from qmpd.base.scalars import decimal_number

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_BLANKS: Final = " \t\n\v\f\r"
_LEVELS: Final = ("+-", "&|^", "*/%")
"""Operators by precedence, the lowest first."""


class ExpressionError(Exception):
    """The expression is malformed; the text is QEMU's."""


class Expression:
    """Evaluates the expression at a position in `text`.

    :param position: where it begins; after `evaluate`, where it ends
    """

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self.position = position

    def evaluate(self) -> int:
        """The value, a signed 64-bit integer.

        :raises ExpressionError: in QEMU's words
        """
        self._skip_blanks()
        return self._level(0)

    def _level(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._operand()
        value = self._level(level + 1)
        while (operator := self._next()) and operator in _LEVELS[level]:
            self._pass()
            value = _signed(_apply(operator, value, self._level(level + 1)))
        return value

    def _operand(self) -> int:
        char = self._next()
        if char and char in "+-~":
            self._pass()
            value = self._operand()
            return _signed({"+": value, "-": -value, "~": ~value}[char])
        if char == "(":
            self._pass()
            value = self._level(0)
            if self._next() != ")":
                raise ExpressionError("')' expected")
            self._pass()
            return value
        if not char:
            raise ExpressionError("unexpected end of expression")
        if char == "'":
            return self._character()
        if char == "$":
            raise ExpressionError("unknown register")
        return self._number(char)

    def _character(self) -> int:
        """A character between quotes; it may be a quote."""
        self.position += 1
        char = self._next()
        if not char:
            raise ExpressionError("character constant expected")
        self.position += 1
        if self._next() != "'" or not char.isascii():
            raise ExpressionError("missing terminating ' character")
        self._pass()
        return ord(char)

    def _number(self, char: str) -> int:
        match = _NUMBER.match(self._text, self.position)
        if match is None:
            # QEMU shows a byte of it, which is no character
            shown = char if char.isascii() else "\N{REPLACEMENT CHARACTER}"
            raise ExpressionError(f"invalid char '{shown}' in expression")
        digits = match[0]
        if digits[0] == "0" and digits[1:2] not in ("x", "X"):
            # An octal number ends where a digit is none of its own.
            octal = re.match("[0-7]+", digits)
            assert octal is not None
            digits = octal[0]
            value = int(digits, 8)
        elif digits.isdecimal():
            value = decimal_number(digits)
        else:
            value = int(digits, 16)
        if value >= 1 << 64:
            raise ExpressionError("number too large")
        self.position += len(digits)
        self._skip_blanks()
        return _signed(value)

    def _next(self) -> str:
        return self._text[self.position : self.position + 1]

    def _pass(self) -> None:
        self.position += 1
        self._skip_blanks()

    def _skip_blanks(self) -> None:
        while self._next() and self._next() in _BLANKS:
            self.position += 1


def _apply(operator: str, left: int, right: int) -> int:
    if operator in "/%":
        if right == 0:
            raise ExpressionError("division by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if operator == "/" else left - quotient * right
    return {
        "+": left + right,
        "-": left - right,
        "*": left * right,
        "&": left & right,
        "|": left | right,
        "^": left ^ right,
    }[operator]


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
