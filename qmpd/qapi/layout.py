"""How doc lines are set: columns and spaces between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qmpd.qapi.entities import SourceLocation
from qmpd.qapi.lexer import RawDoc
from qmpd.qapi.source import QapiError

MAX_COLUMNS = 70
_ADDRESS = re.compile(r" *(?:https?|ftp)://[^ ]*")
_LITERAL = re.compile(r"(?:\.\. +qmp-example)? *::")
_LIST_NUMBER = re.compile(r"^ *\d\. ")
_SENTENCE_END = re.compile(r"(?<!\be\.g)[.!?] [A-Z0-9(]")


def check_layout(docs: Iterable[RawDoc]) -> None:
    """Check the rules of QEMU 10.2: lines of 70 columns, two spaces between sentences.

    Literal blocks (after ``::``) and addresses are free.

    :raises QapiError: the first line that breaks one
    """
    for doc in docs:
        _check_block(doc)


def _check_block(doc: RawDoc) -> None:
    is_literal, literal_indent = False, 0
    for number, line in doc.lines:
        text = line[2:].rstrip()
        indent = len(text) - len(text.lstrip())
        if _LITERAL.fullmatch(text):
            is_literal, literal_indent = True, 0
        elif is_literal and text:
            # The first line of a literal block sets its indentation, one with less ends it.
            literal_indent = literal_indent or indent
            is_literal = indent >= literal_indent
        if not is_literal and (fault := _fault(text)):
            raise QapiError(SourceLocation(doc.location.file, number), fault)


def _fault(text: str) -> str | None:
    if len(text) + len("# ") > MAX_COLUMNS and not _ADDRESS.fullmatch(text):
        return f"documentation line longer than {MAX_COLUMNS} characters"
    if _SENTENCE_END.search(_LIST_NUMBER.sub("", text)):
        return (
            "Use two spaces between sentences\n"
            "If this not the end of a sentence, please report a bug."
        )
    return None
