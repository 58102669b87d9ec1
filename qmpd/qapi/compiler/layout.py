"""How doc lines are set: columns and spaces between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qmpd.qapi.compiler.entities import SourceLocation
from qmpd.qapi.compiler.lexer import RawDoc
from qmpd.qapi.compiler.source import QapiError

MAX_COLUMNS = 70
_ADDRESS = re.compile(r" *(?:https?|ftp)://[^ ]*")
_LITERAL = re.compile(r"(?:\.\. +qmp-example)? *::")
_LIST_NUMBER = re.compile(r"^ *\d\. ")
_SENTENCE_END = re.compile(r"(?<!\be\.g)[.!?] [A-Z0-9(]")


def check_layout(docs: Iterable[RawDoc]) -> None:
    """Check the layout of all blocks.

    :raises QapiError: the first line that breaks a rule
    """
    for doc in docs:
        checker = LayoutChecker()
        for number, line in doc.lines:
            if fault := checker.fault(line[2:].rstrip()):
                raise QapiError(SourceLocation(doc.location.file, number), fault)


class LayoutChecker:
    """The rules of QEMU 10.2 for one block: 70 columns, two spaces between sentences.

    Literal blocks (after ``::``) and addresses are free.
    """

    def __init__(self) -> None:
        self._is_literal = False
        self._literal_indent = 0

    def fault(self, text: str) -> str | None:
        """What is wrong with the block's next line, given without ``#`` and its space."""
        indent = len(text) - len(text.lstrip())
        if _LITERAL.fullmatch(text):
            self._is_literal, self._literal_indent = True, 0
        elif self._is_literal and text:
            # The first line of a literal block sets its indentation, one with less ends it.
            self._literal_indent = self._literal_indent or indent
            self._is_literal = indent >= self._literal_indent
        return None if self._is_literal else _fault(text)


def _fault(text: str) -> str | None:
    if len(text) + len("# ") > MAX_COLUMNS and not _ADDRESS.fullmatch(text):
        return f"documentation line longer than {MAX_COLUMNS} characters"
    if _SENTENCE_END.search(_LIST_NUMBER.sub("", text)):
        return (
            "Use two spaces between sentences\n"
            "If this not the end of a sentence, please report a bug."
        )
    return None
