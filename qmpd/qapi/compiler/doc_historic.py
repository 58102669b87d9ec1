"""Doc blocks as QEMU wrote them from 2.9 to 8.2.

Text may be indented in any way, ``Note:`` and ``Example:`` are sections, members may go
without description.  What those compilers refused for good reason is refused here too:
empty and repeated sections, descriptions after another section, names that do not exist.
"""

from __future__ import annotations

import re

from qmpd.qapi.compiler.dialect import Dialect
from qmpd.qapi.compiler.doc import TAG_KINDS, DocBlock, DocLines
from qmpd.qapi.compiler.lexer import RawDoc

_NAME = re.compile(r"@(\S*):(?= |$) *")
_TAG = re.compile(r"(Returns|Since|Notes?|Examples?|TODO):(?= |$) *")
_ANY_NAME = re.compile(r"@\S+:")


def read_historic_doc(raw: RawDoc, dialect: Dialect) -> DocBlock:
    """Read a block by the older rules.

    :param dialect: says whether indentation counts

    :raises QapiError: the first line that breaks one
    """
    lines = DocLines(raw)
    symbol = lines.symbol()
    block = DocBlock(raw.location, symbol, historic=True)
    reader = _Reader(lines, block, dialect.strict_indentation)
    if symbol is None:
        reader.read_free_text()
    else:
        lines.advance()
        reader.read()
    return block


class _Reader:
    """Line by line, with the section being read as state."""

    def __init__(self, lines: DocLines, block: DocBlock, strict_indentation: bool) -> None:
        self._block = block
        self._lines = lines
        self._section = block.plain(lines.location)
        self._strict_indentation = strict_indentation
        # Columns by which the section's text must be indented.
        self._indent = 0
        # What a line @NAME: describes now: a member, a feature, or nothing any more.
        self._describes: str | None = "member"

    def read_free_text(self) -> None:
        while self._lines.text is not None:
            self._append(self._lines.text)
            self._lines.advance()

    def read(self) -> None:
        while (text := self._lines.text) is not None:
            self._line(text)
            self._lines.advance()
        self._close()

    def _line(self, text: str) -> None:
        lines = self._lines
        if match := _NAME.match(text):
            if self._describes is None:
                tag = self._section.kind.capitalize()
                raise lines.error(f"'@{match[1]}:' can't follow '{tag}' section")
            head = self._begin(match)
            self._section = self._block.describe(self._describes, match[1], lines.location, head)
        elif match := _TAG.match(text):
            head = self._begin(match)
            self._section = self._block.begin(TAG_KINDS[match[1]], lines.location, head)
            self._describes = None
        elif text == "Features:" and self._may_start_features():
            self._close()
            self._describes = "feature"
        elif text.startswith(("= ", "==")):
            raise lines.error("unexpected '=' markup in definition documentation")
        else:
            if text and not text[0].isspace() and self._after_blank() and self._is_description():
                self._close()
                self._section = self._block.plain(lines.location)
                self._describes = None
                self._indent = 0
            self._append(text)

    def _begin(self, match: re.Match[str]) -> str:
        """Leave the section for a new one, whose first line goes on behind `match`."""
        self._close()
        head = match.string[match.end() :]
        self._indent = match.end() if head and self._strict_indentation else 0
        return head

    def _may_start_features(self) -> bool:
        is_body = self._section is self._block.sections[0]
        return self._describes is not None and (is_body or self._after_blank())

    def _is_description(self) -> bool:
        return self._section.kind in ("member", "feature")

    def _after_blank(self) -> bool:
        return bool(self._section.lines) and self._section.lines[-1] == ""

    def _append(self, text: str) -> None:
        if match := _ANY_NAME.match(text):
            raise self._lines.error(f"'{match[0]}' not allowed in free-form documentation")
        if text and len(text) - len(text.lstrip()) < self._indent:
            message = f"unexpected de-indent (expected at least {self._indent} spaces)"
            raise self._lines.error(message)
        self._section.lines.append(text)

    def _close(self) -> None:
        section = self._section
        if section.kind != "plain" and not section.text:
            name = section.name or section.kind.capitalize()
            raise self._lines.error(f"empty doc section '{name}'")
