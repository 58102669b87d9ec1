"""Schema files as they were read: definitions as written, doc blocks cut out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from qmpd.qapi.compiler.entities import SourceLocation
from qmpd.qapi.compiler.lexer import RawDoc
from qmpd.qapi.compiler.source import QapiError

Value: TypeAlias = "dict[str, Value] | list[Value] | str | bool"


@dataclass(slots=True)
class Pragma:
    """What the pragmas of the whole schema allow; later values replace earlier ones."""

    doc_required: bool = False
    command_name_exceptions: frozenset[str] = frozenset()
    command_returns_exceptions: frozenset[str] = frozenset()
    documentation_exceptions: frozenset[str] = frozenset()
    member_name_exceptions: frozenset[str] = frozenset()
    historic: bool = False
    """A pragma was used whose name QEMU 6.0 changed."""


@dataclass(slots=True)
class Expression:
    """One definition as written.

    :param body: its JSON object
    :param location: the line of its opening brace
    :param doc: the doc block before it, if any
    :param gone_members: names of members and values that another version has
    :param gone_features: the same for features
    """

    body: dict[str, Value]
    location: SourceLocation
    doc: RawDoc | None
    gone_members: frozenset[str] = frozenset()
    gone_features: frozenset[str] = frozenset()


@dataclass(slots=True)
class ParsedSchema:
    """All files of a schema, read as far as they could be.

    :param file: the main file
    :param files: every file, in the order in which they were first included
    :param expressions: the definitions, in order
    :param docs: all doc blocks, in order
    :param failure: the error that ended the reading
    :param with_docs: doc blocks were told from comments
    :param comments: all lines that start with ``#``, where they were not
    """

    file: str
    files: list[str] = field(default_factory=list)
    expressions: list[Expression] = field(default_factory=list)
    docs: list[RawDoc] = field(default_factory=list)
    pragma: Pragma = field(default_factory=Pragma)
    failure: QapiError | None = None
    with_docs: bool = True
    comments: list[str] = field(default_factory=list)
