"""Schema text to tokens.

The syntax is JSON's with single quotes, without numbers and ``null``, with ``#`` comments.
A comment that starts with ``##`` is a token of its own wherever it stands: only between
definitions does the grammar have a place for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qmpd.qapi.compiler.entities import SourceLocation
from qmpd.qapi.compiler.source import QapiError

END = ""
DOC = "#"
STRING = "'"
BOOLEANS = {"t": ("true", True), "f": ("false", False)}

_BLANK = re.compile(r"(?:\s|#(?!#)[^\n]*)+")
_ANY_COMMENT = re.compile(r"(?:\s|#[^\n]*)+")
_SPACE = re.compile(r"\s+")
_LINE = re.compile(r"[^\n]*")
_STRING = re.compile(r"'((?:[ -&(-\[\]-~]|\\\\)*)'")
_WORD = re.compile(r"[^\[\]{}:,\s']+")


@dataclass(slots=True)
class RawDoc:
    """A ``##`` block before it is understood.

    :param location: its first line
    :param lines: line number and text, from ``#`` on, of each line between the two ``##``
    :param end: the last line, ``##``
    :param failure: what is wrong with its end or after it, to be raised once all `lines`
        are found right
    """

    location: SourceLocation
    lines: list[tuple[int, str]] = field(default_factory=list)
    end: int = 0
    failure: QapiError | None = None

    @property
    def symbol(self) -> str | None:
        """The name the block documents, None for free text (not yet checked)."""
        first = self.lines[0][1] if self.lines else ""
        return first[2:].rstrip()[1:-1] if first.startswith("# @") else None


class Lexer:
    """The tokens of one file, one ahead.

    `kind` is one of ``{ } : , [ ]``, `STRING`, ``t``/``f`` for booleans, `DOC` (first line of a
    ``##`` block) and `END`; `value` holds the string or boolean; `line` is the token's line.

    :param docs: ``##`` starts a doc block; False: it is a comment like others
    """

    def __init__(self, file: str, text: str, *, docs: bool = True) -> None:
        self.file = file
        self._blank = _BLANK if docs else _ANY_COMMENT
        self._text = text if text.endswith("\n") else text + "\n"
        self._position = 0
        self._line = 1
        self.line = 1
        self.kind = END
        self.value: str | bool = ""

    @property
    def location(self) -> SourceLocation:
        """Where the current token stands."""
        return SourceLocation(self.file, self.line)

    def error(self, message: str) -> QapiError:
        """The error `message` at the current token."""
        return QapiError(self.location, message)

    def advance(self) -> None:
        """Go to the next token.

        :raises QapiError: there is text that is no token
        """
        self._skip(self._blank)
        text, start = self._text, self._position
        self.line = self._line
        if start == len(text):
            self.kind = END
            return
        self.kind = text[start]
        if self.kind in "{}:,[]":
            self._position = start + 1
        elif self.kind == STRING:
            self._read_string()
        elif self.kind == DOC:
            self.value = self._rest_of_line()
        else:
            self._read_word()

    def read_doc(self) -> RawDoc:
        """Take the ``##`` block that starts at the current token, then advance."""
        raw = RawDoc(self.location)
        if self.value != "##":
            raise self.error("junk after '##' at start of documentation comment")
        while True:
            self._skip(_SPACE)
            if not self._text.startswith("#", self._position):
                raw.failure = self._broken_doc()
                return raw
            line = self._rest_of_line()
            if line.startswith("##"):
                break
            raw.lines.append((self._line, line))
        self.line = raw.end = self._line
        if line != "##":
            raw.failure = self.error("junk after '##' at end of documentation comment")
            return raw
        try:
            self.advance()
        except QapiError as error:
            raw.failure = error
        return raw

    def _broken_doc(self) -> QapiError:
        try:
            self.advance()
        except QapiError as error:
            return error
        return self.error("documentation comment must end with '##'")

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._position)
        if match is None:
            return
        self._position = match.end()
        self._line += match.group().count("\n")
        if self._position == len(self._text):
            # The newline that ends the file starts no line: the end is told on the last one.
            self._line -= 1

    def _rest_of_line(self) -> str:
        match = _LINE.match(self._text, self._position)
        assert match is not None
        self._position = match.end()
        return match.group()

    def _read_string(self) -> None:
        match = _STRING.match(self._text, self._position)
        if match is None:
            raise self.error(self._string_fault())
        self._position = match.end()
        self.value = match.group(1).replace("\\\\", "\\")

    def _string_fault(self) -> str:
        escaped = False
        for char in self._text[self._position + 1 :]:
            if char == "\n":
                break
            if escaped and char != "\\":
                return f"unknown escape \\{char}"
            escaped = char == "\\" and not escaped
            if not " " <= char <= "~":
                return "funny character in string"
        return 'missing terminating "\'"'

    def _read_word(self) -> None:
        word, value = BOOLEANS.get(self.kind, ("", False))
        if word and self._text.startswith(word, self._position):
            self._position += len(word)
            self.value = value
            return
        match = _WORD.match(self._text, self._position)
        assert match is not None
        raise self.error(f"stray '{match.group()}'")
