"""Doc blocks: what a ``##`` comment says about the definition after it.

A block documents a definition when its first line is ``@NAME:``, else it is free text.  A
definition's block is a sequence of sections: paragraphs, descriptions of members (``@a: ...``),
of features (the same after a line ``Features:``), and tagged ones (``Since:``, ``Returns:``,
``Errors:``, ``TODO:``).  A description or tagged section goes on in indented lines.

This module reads blocks as QEMU has done since 9.0; `qmpd.qapi.compiler.doc_historic` reads
them as before that.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection
from dataclasses import dataclass, field

from qmpd.qapi.compiler.dialect import Dialect, DocRules, Rule
from qmpd.qapi.compiler.entities import Doc, DocSection, SourceLocation
from qmpd.qapi.compiler.layout import LayoutChecker
from qmpd.qapi.compiler.lexer import RawDoc
from qmpd.qapi.compiler.source import QapiError, Site

_DESCRIPTION = re.compile(r"@([^:]*): *")
_TAG = re.compile(r"(Returns|Errors|Since|Notes?|Examples?|TODO)(?!::): *")
TAG_KINDS = {
    "Returns": "returns",
    "Errors": "errors",
    "Since": "since",
    "Note": "note",
    "Notes": "note",
    "Example": "example",
    "Examples": "example",
    "TODO": "todo",
}
# A bare line of ``=`` may also be reStructuredText's underlining.
_HEADINGS = {
    Rule.NONE: None,
    Rule.LENIENT: re.compile(r"=+ [^=\s]"),
    Rule.STRICT: re.compile(r"="),
}
_ONCE = ("returns", "errors", "since")
_WITHDRAWN = {
    "note": "Please use rST's '.. note::' or '.. admonition:: notes' directives, or another "
    "suitable admonition instead.",
    "example": "Please use the '.. qmp-example::' directive, or other suitable markup instead.",
}


@dataclass(slots=True)
class Section:
    """A section being read.

    :param kind: plain, member, feature, returns, errors, since, todo, note or example
    :param location: its first line
    :param name: the member or feature described
    :param head: the text on the tag's own line
    :param lines: the lines after that
    """

    kind: str
    location: SourceLocation
    name: str | None = None
    head: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The section's text without common indentation and blank lines around it."""
        rest = textwrap.dedent("\n".join(self.lines))
        return f"{self.head}\n{rest}".strip("\n")


@dataclass(slots=True)
class DocBlock:
    """A doc block, and what of it the definition's parts have claimed.

    :param location: the block's first line
    :param symbol: the name documented; None for free text
    :param historic: the block as such is told in errors, not one of its sections
    """

    location: SourceLocation
    symbol: str | None = None
    historic: bool = False
    sections: list[Section] = field(default_factory=list)
    members: dict[str, Section] = field(default_factory=dict)
    features: dict[str, Section] = field(default_factory=dict)
    _claimed: set[int] = field(default_factory=set)

    def section(self, kind: str) -> Section | None:
        """The first section of `kind`."""
        return next((section for section in self.sections if section.kind == kind), None)

    def describe(self, kind: str, name: str, location: SourceLocation, head: str) -> Section:
        """Begin the description of member or feature `name`.

        :raises QapiError: the name is empty or was described before
        """
        described = self.features if kind == "feature" else self.members
        if not name:
            raise QapiError(location, "invalid parameter name")
        if name in described:
            raise QapiError(location, f"'{name}' parameter name duplicated")
        described[name] = Section(kind, location, name, head)
        self.sections.append(described[name])
        return described[name]

    def begin(self, kind: str, location: SourceLocation, head: str) -> Section:
        """Begin a tagged section.

        :raises QapiError: there may be only one of its kind, and is
        """
        if kind in _ONCE and self.section(kind):
            raise QapiError(location, f"duplicated '{kind.capitalize()}' section")
        section = Section(kind, location, None, head)
        self.sections.append(section)
        return section

    def plain(self, location: SourceLocation) -> Section:
        """The plain section to continue, a new one after any other kind of section."""
        last = self.sections[-1] if self.sections else None
        if last is None or last.kind != "plain":
            last = Section("plain", location)
            self.sections.append(last)
        elif last.lines:
            last.lines.append("")
        return last

    def claim_member(self, name: str) -> bool:
        """Whether member `name` is described; notes that it exists."""
        return self._claim(self.members.get(name))

    def claim_feature(self, name: str) -> bool:
        """Whether feature `name` is described; notes that it exists."""
        return self._claim(self.features.get(name))

    def _claim(self, section: Section | None) -> bool:
        if section is None:
            return False
        self._claimed.add(id(section))
        return True

    def forget(self, members: Collection[str], features: Collection[str]) -> None:
        """Leave out what is said of members and features that only another version has."""
        for described, names in ((self.members, members), (self.features, features)):
            for name in names:
                section = described.pop(name, None)
                self.sections = [other for other in self.sections if other is not section]

    def check_against(self, site: Site, *, returns: bool) -> None:
        """Check that the block suits the definition after it.

        :param returns: the definition returns something
        :raises QapiError: it is for another name, or tells of a reply there is not
        """
        if self.symbol != site.name:
            raise site.error(f"documentation comment is for '{self.symbol}'")
        for kind in ("returns", "errors"):
            section = self.section(kind)
            if section is None:
                continue
            if self.historic and site.meta != "command":
                raise QapiError(self.location, "'Returns:' is only valid for commands")
            title = kind.capitalize()
            if site.meta != "command":
                raise QapiError(section.location, f"'{title}' section is only valid for commands")
            if kind == "returns" and not returns and not self.historic:
                message = "'Returns' section, but command doesn't return anything"
                raise QapiError(section.location, message)

    def check_claimed(self) -> None:
        """Check, at the end, that all members and features described exist.

        :raises QapiError: some do not
        """
        for what, described in (("member", self.members), ("feature", self.features)):
            bogus = [s for s in described.values() if id(s) not in self._claimed]
            if bogus:
                names = "', '".join(str(section.name) for section in bogus)
                plural, verb = ("s", "do") if len(bogus) > 1 else ("", "does")
                message = f"documented {what}{plural} '{names}' {verb} not exist"
                raise QapiError(self.location if self.historic else bogus[0].location, message)

    def to_doc(self) -> Doc:
        """The block as outputs see it."""
        first = self.sections[0] if self.sections else None
        body = first if first and first.kind == "plain" else None
        sections = tuple(
            DocSection(section.kind, section.name, section.text)
            for section in self.sections
            if section is not body
        )
        return Doc(self.symbol, body.text if body else "", sections, self.location)


class DocLines:
    """The lines of a block, one at a time.

    `text` is the current line without ``#`` and surrounding blanks at its end, None behind
    the last one.

    :param layout: check how lines are set, too
    """

    def __init__(self, raw: RawDoc, *, layout: bool = False) -> None:
        self._raw = raw
        self._layout = LayoutChecker() if layout else None
        self._next = 0
        self.location = raw.location
        self.text: str | None = None
        self.advance()

    def advance(self) -> None:
        """Go to the next line.

        :raises QapiError: the line is malformed, or the block does not end as it should
        """
        if self._next == len(self._raw.lines):
            if self._raw.failure:
                raise self._raw.failure
            self.text = None
            self.location = SourceLocation(self._raw.location.file, self._raw.end)
            return
        number, line = self._raw.lines[self._next]
        self._next += 1
        self.location = SourceLocation(self._raw.location.file, number)
        if line[1:2] not in ("", " "):
            raise self.error("missing space after #")
        self.text = line[2:].rstrip()
        if self._layout and (fault := self._layout.fault(self.text)):
            raise self.error(fault)

    def skip_blank(self) -> None:
        """Go to the next line that is not empty, if this one is."""
        while self.text == "":
            self.advance()

    def error(self, message: str) -> QapiError:
        """The error `message` about the current line."""
        return QapiError(self.location, message)

    def symbol(self) -> str | None:
        """The name in a first line ``@NAME:``, None for other text.

        :raises QapiError: a name without colon, or none
        """
        if self.text is None or not self.text.startswith("@"):
            return None
        if not self.text.endswith(":"):
            raise self.error("line should end with ':'")
        if self.text == "@:":
            raise self.error("name required after '@'")
        return self.text[1:-1]


def read_doc(raw: RawDoc, dialect: Dialect) -> DocBlock:
    """Read a block by the rules of QEMU 9.0 (`DocRules.TAGGED`) or 9.1 and later.

    :param dialect: says which

    :raises QapiError: the first line that breaks a rule
    """
    lines = DocLines(raw, layout=dialect.layout is Rule.STRICT)
    symbol = lines.symbol()
    block = DocBlock(raw.location, symbol)
    if symbol is None:
        _read_free_text(lines, block, dialect.headings_first)
    else:
        lines.advance()
        _DefinitionReader(lines, block, dialect).read()
    for section in block.sections:
        if section.kind != "plain" and not section.text:
            title = section.kind.capitalize()
            raise QapiError(section.location, f"text required after '{title}:'")
    return block


def _read_free_text(lines: DocLines, block: DocBlock, first: Rule) -> None:
    heading = _HEADINGS[first]
    section = block.plain(lines.location)
    while lines.text is not None:
        if match := _DESCRIPTION.match(lines.text):
            raise lines.error(f"'@{match[1]}:' not allowed in free-form documentation")
        if section.lines and heading and heading.match(lines.text):
            raise lines.error("'=' heading must come first in a comment block")
        section.lines.append(lines.text)
        lines.advance()


class _DefinitionReader:
    """The sections of a definition's block."""

    def __init__(self, lines: DocLines, block: DocBlock, dialect: Dialect) -> None:
        self._lines = lines
        self._block = block
        self._dialect = dialect
        self._may_describe = True

    def read(self) -> None:
        lines = self._lines
        while True:
            lines.skip_blank()
            if lines.text is None:
                return
            if lines.text == "Features:":
                self._features()
            elif match := _DESCRIPTION.match(lines.text):
                if not self._may_describe:
                    raise lines.error(f"description of '@{match[1]}:' follows a section")
                self._descriptions("member")
            elif match := _TAG.match(lines.text):
                self._tagged(match)
            elif self._dialect.headings and lines.text.startswith("="):
                raise lines.error("unexpected '=' markup in definition documentation")
            else:
                self._paragraph()
                continue
            self._may_describe = False

    def _features(self) -> None:
        lines = self._lines
        if self._block.features:
            raise lines.error("duplicated 'Features:' line")
        lines.advance()
        lines.skip_blank()
        self._descriptions("feature")
        if not self._block.features:
            raise lines.error("feature descriptions expected")

    def _descriptions(self, kind: str) -> None:
        lines = self._lines
        while lines.text is not None and (match := _DESCRIPTION.match(lines.text)):
            head = lines.text[match.end() :]
            self._indented(self._block.describe(kind, match[1], lines.location, head))

    def _tagged(self, match: re.Match[str]) -> None:
        lines = self._lines
        kind = TAG_KINDS[match[1]]
        if kind in _WITHDRAWN and self._dialect.docs is DocRules.CURRENT:
            raise lines.error(
                f"The '{match[1]}' section is no longer supported. {_WITHDRAWN[kind]}"
            )
        self._indented(self._block.begin(kind, lines.location, match.string[match.end() :]))

    def _indented(self, section: Section) -> None:
        """Take the lines that continue `section`."""
        lines = self._lines
        lines.advance()
        while lines.text == "":
            section.lines.append("")
            lines.advance()
        if lines.text is None or not lines.text[0].isspace():
            return
        indent = _indentation(lines.text)
        taken = 0
        while lines.text is not None and not _DESCRIPTION.match(lines.text):
            if lines.text and _indentation(lines.text) < indent:
                # Like QEMU's compiler: only right after the first indented line is it a fault.
                if taken > 1:
                    return
                raise lines.error(f"unexpected de-indent (expected at least {indent} spaces)")
            section.lines.append(lines.text)
            taken += 1
            lines.advance()

    def _paragraph(self) -> None:
        lines = self._lines
        section = self._block.plain(lines.location)
        while lines.text:
            section.lines.append(lines.text)
            lines.advance()


def _indentation(text: str) -> int:
    return len(text) - len(text.lstrip())
