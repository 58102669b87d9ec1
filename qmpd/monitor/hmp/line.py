"""Parsing a line of HMP: a command name and its arguments (``monitor_parse_arguments``)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.scalars import TooLarge, read_size
from qmpd.base.sizes import as_int64
from qmpd.monitor.hmp.expression import Expression, ExpressionError

if TYPE_CHECKING:
    from qmpd.profile.monitor_rules import MonitorName
    from qmpd.profile.rules import Rules

_BLANKS: Final = " \t\n\v\f\r"
_BLANK: Final = re.compile(f"[{_BLANKS}]*")
_WORD: Final = re.compile(f"[^{_BLANKS}]*")
_COMMAND: Final = re.compile(f"[^{_BLANKS}/]*")
_PLAIN: Final = re.compile(r'[^"\\]*')
"""What needs no thought between quotes."""
_SECONDS: Final = re.compile(
    r"(?P<number>[+-]?(?:0x[0-9a-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|nan))"
    r"(?:(?P<unit>[mun])s)?",
    re.I,
)
WORD_BYTES: Final = 1023
"""How long a word is at most; what more it has is read, but forgotten."""

STEP: Final = 1 << 16
"""Characters that are looked at in one go: nobody waits for a long line to be read."""

_ESCAPES: Final = {"n": "\n", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


class UsageError(Exception):
    """A line cannot be parsed; `text` is what the monitor shows.

    :param bare: whether it is shown without the command's name
    :param ends: whether the line ends with it
    """

    def __init__(self, text: str, *, bare: bool = False, ends: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.bare = bare
        self.ends = ends


class TooWide(UsageError):
    """A number does not fit into 32 bits, as which negative ones do not."""

    def __init__(self) -> None:
        super().__init__("integer is for 32-bit values")


class Kind(Enum):
    """How an argument is read; the value is the message shown when the argument is missing.

    That of `REST`, which takes all that is left of the line, is the one of `STRING`; of `OPTIONS`
    nothing is said.
    """

    FILENAME = "filename expected"
    BLOCK_DEVICE = "block device name expected"
    STRING = "string expected"
    SIZE = "invalid size"
    INTEGER = "invalid integer"
    INTEGER32 = "invalid integer of 32 bits"
    MEBIBYTES = "enter a positive value"
    SECONDS = "Number expected"
    OPTIONS = "options of a group"
    BOOLEAN = "Expected 'on' or 'off'"
    REST = "all that is left of the line"
    FLAG = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a command; `flag` is the letter after the dash.

    :param takes_text: whether a text follows the flag
    :param rule: the rule that holds in the versions that have it; None: all have it
    """

    name: str
    kind: Kind
    optional: bool = False
    flag: str = ""
    takes_text: bool = False
    rule: MonitorName | None = None


class Line:
    """A line of input and how far it has been read.

    :param rules: the rules of the version whose monitor reads it
    :param stdout: takes the complaints that QEMU prints on standard output
    """

    def __init__(self, text: str, rules: Rules, stdout: Callable[[str], None]) -> None:
        self._text = text
        self._rules = rules
        self._position = 0
        self._stdout = stdout
        self._skip_blanks()

    def at_end(self) -> bool:
        """Whether nothing but blanks is left."""
        self._skip_blanks()
        return self._position >= len(self._text)

    def rest(self) -> str:
        """The part that has not been read."""
        return self._text[self._position :]

    def begin(self) -> str:
        """The part that has been read."""
        return self._text[: self._position]

    def command_name(self) -> str:
        """Read a name: up to a blank, or a slash and its format (``p/x``)."""
        self._skip_blanks()
        start = self._position
        self._pass(_COMMAND)
        # none is that long
        return self._text[start : min(self._position, start + STEP)]

    def word(self) -> str | None:
        """Read the next word, which may be quoted; None: it is malformed, which has been told."""
        return self._string()

    def arguments(
        self,
        parameters: Sequence[Parameter],
        read_options: Callable[[str], Any] | None = None,
    ) -> dict[str, Any]:
        """Read all arguments of a command; absent optional ones are left out.

        :param read_options: reads options of a group; without it they are a text
        :raises UsageError: an argument is missing or malformed, or there are too many
        """
        found: dict[str, Any] = {}
        holds = self._rules.holds
        parameters = [p for p in parameters if p.rule is None or holds(p.rule)]
        for number, parameter in enumerate(parameters):
            if parameter.kind is Kind.FLAG:
                if self._flag(parameter.flag, {later.flag for later in parameters[number:]}):
                    found[parameter.name] = self._after_flag(parameter)
                continue
            if self.at_end() and parameter.optional:
                continue
            value = self._value(parameter.kind)
            if parameter.kind is Kind.OPTIONS and read_options is not None:
                value = read_options(value)
            found[parameter.name] = value
        if not self.at_end():
            raise UsageError("extraneous characters at the end of line")
        return found

    def _skip_blanks(self) -> None:
        self._pass(_BLANK)

    def _pass(self, pattern: re.Pattern[str]) -> None:
        """Go on behind what matches, which any part of it does: a step after the other."""
        text, position = self._text, self._position
        while True:
            limit = position + STEP
            found = pattern.match(text, position, limit)
            assert found is not None
            self._position = position = found.end()
            if position < limit:
                return

    def _flag(self, letter: str, known: set[str]) -> bool:
        """Read flag `letter` if it is next; other `known` flags are left for later parameters."""
        self._skip_blanks()
        if not self._text.startswith("-", self._position):
            return False
        found = self._text[self._position + 1 : self._position + 2]
        if found == letter:
            self._position += 2
            return True
        if found not in known - {""}:
            # a null byte in its place takes the end of the line with it
            raise UsageError(f"unsupported option -{found}", ends=bool(found))
        return False

    def _after_flag(self, parameter: Parameter) -> Any:
        if not parameter.takes_text:
            return True
        text = self._string()
        if text is None:
            raise UsageError(f"value expected for -{parameter.flag}")
        return text

    def _value(self, kind: Kind) -> Any:
        if kind is Kind.SIZE:
            return self._size()
        if kind is Kind.INTEGER:
            return self._integer()
        if kind is Kind.INTEGER32:
            value = self._integer()
            if value >> 32:
                raise TooWide
            return value - (1 << 32) if value >> 31 else value
        if kind is Kind.MEBIBYTES:
            return self._mebibytes()
        if kind is Kind.SECONDS:
            return self._seconds()
        if kind is Kind.REST:
            if self.at_end():
                raise UsageError(Kind.STRING.value)
            rest = self.rest()
            self._position = len(self._text)
            return rest
        if kind is Kind.BOOLEAN:
            return self._boolean()
        if kind is Kind.OPTIONS and self.at_end():
            return ""
        return self._text_of(kind)

    def _text_of(self, kind: Kind) -> str:
        text = self._string()
        if text is None and kind is Kind.OPTIONS:
            raise UsageError("", bare=True, ends=False)
        if text is None:
            raise UsageError(kind.value)
        return text

    def _size(self) -> int:
        self._skip_blanks()
        try:
            size, self._position = read_size(self._text, self._position, "M", self._rules.sizes)
            if size >= 2**63:
                raise TooLarge(self._text, self._position)
        except ValueError:
            raise UsageError(Kind.SIZE.value, bare=True) from None
        return size

    def _boolean(self) -> bool:
        self._skip_blanks()
        word = re.match(r"[!-~]*", self.rest())
        assert word is not None
        if word.group() not in ("on", "off"):
            raise UsageError(Kind.BOOLEAN.value, bare=True)
        self._position += word.end()
        return word.group() == "on"

    def _integer(self) -> int:
        expression = Expression(self._text, self._position)
        try:
            return expression.evaluate()
        except ExpressionError as error:
            raise UsageError(str(error), bare=True) from None
        finally:
            self._position = expression.position

    def _mebibytes(self) -> int:
        value = self._integer()
        if value < 0:
            raise UsageError(Kind.MEBIBYTES.value, bare=True)
        return as_int64(value << 20)

    def _seconds(self) -> float:
        self._skip_blanks()
        match = _SECONDS.match(self._text, self._position)
        if match is None:
            raise UsageError(Kind.SECONDS.value, bare=True)
        number = match["number"]
        value = float.fromhex(number) if "0x" in number.lower() else float(number)
        if not math.isfinite(value):
            raise UsageError("Bad number", bare=True)
        self._position = match.end()
        if self._text[self._position : self._position + 1].strip(_BLANKS):
            raise UsageError("Unknown unit suffix", bare=True)
        return value / {"": 1, "m": 1e3, "u": 1e6, "n": 1e9}[match["unit"] or ""]

    def _string(self) -> str | None:
        self._skip_blanks()
        if self._position >= len(self._text):
            return None
        if self._text[self._position] != '"':
            start = self._position
            self._pass(_WORD)
            return _cut(self._text[start : min(self._position, start + WORD_BYTES)])
        text = self._quoted()
        return None if text is None else _cut(text)

    def _quoted(self) -> str | None:
        self._position += 1
        parts: list[str] = []
        while self._position < len(self._text):
            limit = self._position + STEP
            plain = _PLAIN.match(self._text, self._position, limit)
            assert plain is not None
            # of two parts one at least has a character
            full = len(parts) >= 2 * WORD_BYTES
            if not full:
                parts.append(plain[0][:WORD_BYTES])
            if plain.end() == limit:
                self._position = limit
                continue
            self._position = plain.end() + 1
            char = self._text[plain.end() : self._position]
            if char == '"':
                return "".join(parts)
            if char == "\\":
                escape = self._text[self._position : self._position + 1]
                self._position += 1
                if escape not in _ESCAPES:
                    self._stdout(f"unsupported escape code: '\\{escape}'\n")
                    return None
                if not full:
                    parts.append(_ESCAPES[escape])
        self._stdout("unterminated string\n")
        return None


def _cut(word: str) -> str:
    """What is kept of a word."""
    if len(word) * 4 <= WORD_BYTES:
        return word
    kept = word.encode("utf-8", "surrogateescape")[:WORD_BYTES]
    return kept.decode("utf-8", "surrogateescape")
