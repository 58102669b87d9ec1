"""Which age of the QAPI language a schema is written in.

The language has grown by addition, and most of what older schemas may do is still read by
form alone: ``{ 'type': ... }`` structs, unions without a discriminator, ``'gen': 'no'``,
the pragmas' old names.  Some rules, however, contradict earlier practice: how doc comments are
laid out and what must be documented, how names are spelled, what a condition looks like.
For those the age of the whole schema decides, and a schema is taken for an old one only on
evidence that cannot be had by mistake:

* *2012*: all its structs are ``{ 'type': ... }``, as until QEMU 2.3.
* *dated*: its newest ``Since`` tag names a QEMU version below a rule's, and there are twenty
  such tags or more (a QEMU's whole schema has hundreds).  With fewer tags, two sections
  ``Note:`` or ``Example:``, which QEMU 9.1 took away, make the doc comments those of QEMU 8.2.
  In either case, doc comments that satisfy today's rules are judged by today's.
* *renamed pragmas*: ``returns-whitelist`` or ``name-case-whitelist``: QEMU 5.2 or older.
* *simple unions*: without base and discriminator: QEMU 6.1 or older.  They prove the age of
  conditions only.

Every other schema is current, and every rule holds.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qmpd.qapi.compiler.lexer import RawDoc
from qmpd.qapi.compiler.parsed import Expression, ParsedSchema, Value
from qmpd.qapi.compiler.versions import releases

_SINCE = re.compile(r"\b[Ss]ince:? +(\d{1,2})\.(\d{1,2})\b")
_OLD_SECTION = re.compile(r"# (?:Notes?|Examples?):(?!:)")
_ENOUGH_TAGS = 20
_ENOUGH_SECTIONS = 2
_UNDATED = (99, 0)
METATYPES = ("enum", "struct", "union", "alternate", "command", "event")


class DocRules(enum.Enum):
    """How doc blocks are read."""

    COMMENTS = "comments"
    """Not at all: before QEMU 2.9 they were comments like others."""
    HISTORIC = "historic"
    """As until QEMU 8.2: free indentation, ``Note:`` and ``Example:``, members may lack docs."""
    TAGGED = "tagged"
    """As in QEMU 9.0: as now, with ``Note:`` and ``Example:`` still."""
    CURRENT = "current"
    """As since QEMU 9.1."""


class Rule(enum.Enum):
    """How much of a rule holds."""

    NONE = "none"
    LENIENT = "lenient"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The rules that depend on a schema's age.

    :param docs: how doc blocks are read
    :param names: how words are joined in names; lenient (QEMU 2.12 to 5.2): only upper case in
        members is refused; none, nor is the type of returns checked, before that, when the
        exceptions stood in the compiler
    :param strict_indentation: the text of a section goes on where it began, in
        `DocRules.HISTORIC` (QEMU 5.2 to 8.0)
    :param headings: a doc line that starts with ``=`` is a heading, which definitions' doc
        blocks may not have (until QEMU 10.0)
    :param headings_first: a heading is the first line of its block: strict in QEMU 9.0 to 10.0
    :param layout: doc lines end at column 70, sentences are two spaces apart: strict since
        QEMU 10.2; lenient, if all else is right, where no ``Since`` tells the age
    :param kinds_reserved: type names may not end in ``Kind``: there are unions without a
        discriminator, whose enums are called so
    :param preprocessor: conditions are texts for the C preprocessor (until QEMU 6.1)
    :param is_2012: forms that went away with QEMU 2.4 are read (see `qmpd.qapi.compiler.check`)
    """

    docs: DocRules = DocRules.CURRENT
    names: Rule = Rule.STRICT
    strict_indentation: bool = False
    headings: bool = True
    headings_first: Rule = Rule.LENIENT
    layout: Rule = Rule.NONE
    kinds_reserved: bool = False
    preprocessor: bool = False
    is_2012: bool = False


def detect_dialect(schema: ParsedSchema) -> Dialect:
    """The dialect of `schema`, by the evidence in what could be read of it."""
    simple = any(is_simple_union(expression.body) for expression in schema.expressions)
    if _is_2012(schema):
        return Dialect(
            DocRules.COMMENTS,
            names=Rule.NONE,
            kinds_reserved=simple,
            preprocessor=True,
            is_2012=True,
        )
    lines = [text for doc in schema.docs for _, text in doc.lines] + schema.comments
    dates = list(_dates(lines))
    newest = max(dates, default=_UNDATED)
    docs = _doc_rules(newest)
    if len(dates) < _ENOUGH_TAGS:
        sections = sum(_has_old_section(doc) for doc in schema.docs)
        is_old = newest < (9, 0) and sections >= _ENOUGH_SECTIONS
        docs = DocRules.HISTORIC if is_old else DocRules.CURRENT
        newest = _UNDATED
    if releases(schema):
        # The dates say which versions it describes, not how old it is.
        newest = _UNDATED
    return Dialect(
        docs,
        names=_names(schema, newest),
        strict_indentation=(5, 2) <= newest < (8, 1),
        headings=not (10, 1) <= newest < _UNDATED,
        headings_first=_headings_first(schema, newest),
        layout=_layout(dates, newest),
        kinds_reserved=simple or newest < (6, 2),
        preprocessor=schema.pragma.historic or simple or newest < (6, 2),
    )


def has_plain_comments(schema: ParsedSchema) -> bool:
    """Whether `schema`, read without doc blocks, is of an age when there were none."""
    return detect_dialect(schema).docs is DocRules.COMMENTS


def _names(schema: ParsedSchema, newest: tuple[int, int]) -> Rule:
    if newest < (2, 12):
        return Rule.NONE
    return Rule.LENIENT if schema.pragma.historic or newest < (6, 0) else Rule.STRICT


def _headings_first(schema: ParsedSchema, newest: tuple[int, int]) -> Rule:
    if newest == _UNDATED:
        # What breaks off in an include may be old: then headings stood anywhere.
        return Rule.NONE if schema.failure and len(schema.files) > 1 else Rule.LENIENT
    return Rule.STRICT if newest < (10, 1) else Rule.NONE


def _layout(dates: Sequence[tuple[int, int]], newest: tuple[int, int]) -> Rule:
    if not dates:
        return Rule.LENIENT
    return Rule.STRICT if (10, 2) <= newest < _UNDATED else Rule.NONE


def is_type_struct(expression: Expression) -> bool:
    """Whether it is a struct as of 2012, ``{ 'type': NAME, ... }``."""
    body = expression.body
    return isinstance(body.get("type"), str) and not any(meta in body for meta in METATYPES)


def _is_2012(schema: ParsedSchema) -> bool:
    structs = [e for e in schema.expressions if is_type_struct(e) or "struct" in e.body]
    return bool(structs) and all(map(is_type_struct, structs))


def _has_old_section(doc: RawDoc) -> bool:
    return doc.symbol is not None and any(_OLD_SECTION.match(line) for _, line in doc.lines)


def is_simple_union(body: Mapping[str, Value]) -> bool:
    """Whether it is a union without base and discriminator, of QEMU before 6.2."""
    return "union" in body and body.keys() <= {"union", "data", "if", "features"}


def _dates(lines: Iterable[str]) -> Iterable[tuple[int, int]]:
    for line in lines:
        for major, minor in _SINCE.findall(line):
            yield int(major), int(minor)


def _doc_rules(newest: tuple[int, int]) -> DocRules:
    if newest < (2, 9):
        return DocRules.COMMENTS
    if newest < (9, 0):
        return DocRules.HISTORIC
    return DocRules.TAGGED if newest < (9, 1) else DocRules.CURRENT
