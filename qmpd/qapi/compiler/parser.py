"""Schema files to expressions: grammar, include and pragma directives, doc blocks.

A file is a sequence of JSON objects and ``##`` blocks.  Directives take effect here; what
remains are the definitions, each with the doc block before it, for `qmpd.qapi.compiler.check`.

Doc blocks are only cut out here: by which rules they are read depends on the age of the
whole schema (see `qmpd.qapi.compiler.dialect`).  So that the first error in the text still
wins, a failed parse is kept as `ParsedSchema.failure` and raised after the doc blocks before it.
"""

from __future__ import annotations

import os

from qmpd.qapi.compiler.entities import SourceLocation
from qmpd.qapi.compiler.lexer import DOC, END, STRING, Lexer, RawDoc
from qmpd.qapi.compiler.parsed import Expression, ParsedSchema, Pragma, Value
from qmpd.qapi.compiler.source import QapiError
from qmpd.qapi.compiler.versions import Again, depends

__all__ = ["Expression", "ParsedSchema", "Pragma", "QapiError", "Value", "parse_schema"]

_LIST_PRAGMAS = {
    "command-name-exceptions": ("command_name_exceptions",),
    "command-returns-exceptions": ("command_returns_exceptions",),
    "documentation-exceptions": ("documentation_exceptions",),
    "member-name-exceptions": ("member_name_exceptions",),
    # Their names until QEMU 5.2.
    "returns-whitelist": ("command_returns_exceptions",),
    "name-case-whitelist": ("command_name_exceptions", "member_name_exceptions"),
}
_HISTORIC_PRAGMAS = frozenset({"returns-whitelist", "name-case-whitelist"})


def parse_schema(file: str, *, with_docs: bool = True) -> ParsedSchema:
    """Read `file` and what it includes.

    :param file: path of the main file; errors name files as this path joined with includes
    :param with_docs: ``##`` starts a doc block; False: it is a comment like others
    :returns: what was read; a syntax error is in its `failure`
    :raises QapiError: the main file cannot be read
    """
    schema = ParsedSchema(file, with_docs=with_docs)
    try:
        text = _read(file)
    except OSError as error:
        message = f"can't read schema file '{file}': {error.strerror}"
        raise QapiError(SourceLocation(file, 1), message) from error
    try:
        _FileParser(schema, file, text, (os.path.abspath(file),), {os.path.abspath(file)}).parse()
    except QapiError as error:
        schema.failure = error
    return schema


def _read(file: str) -> str:
    with open(file, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


class _FileParser:
    """The recursive descent over one file.

    :param path: absolute names of the files being read, main file first
    :param known: absolute names of all files read so far
    """

    def __init__(
        self, schema: ParsedSchema, file: str, text: str, path: tuple[str, ...], known: set[str]
    ) -> None:
        self._schema = schema
        self._file = file
        self._path = path
        self._known = known
        self._lexer = Lexer(file, text, docs=schema.with_docs)
        schema.files.append(file)
        if not schema.with_docs:
            schema.comments += (line for line in text.split("\n") if line.startswith("#"))

    def parse(self) -> None:
        lexer = self._lexer
        lexer.advance()
        doc: RawDoc | None = None
        while lexer.kind != END:
            if lexer.kind == DOC:
                _reject_loose(doc)
                doc = lexer.read_doc()
                self._schema.docs.append(doc)
                if doc.failure:
                    raise doc.failure
                continue
            location = lexer.location
            try:
                body = self._value()
            except RecursionError:
                raise QapiError(location, "expression is nested too deeply") from None
            if not isinstance(body, dict):
                raise QapiError(location, "top-level expression must be an object")
            self._expression(body, location, doc)
            doc = None
        _reject_loose(doc)

    def _expression(
        self, body: dict[str, Value], location: SourceLocation, doc: RawDoc | None
    ) -> None:
        if "include" in body:
            _reject_loose(doc)
            self._include(body, location)
        elif "pragma" in body:
            _reject_loose(doc)
            _apply_pragmas(self._schema.pragma, body, location)
        else:
            if doc is not None and doc.symbol is None:
                raise QapiError(doc.location, "definition documentation required")
            self._schema.expressions.append(Expression(body, location, doc))

    def _include(self, body: dict[str, Value], location: SourceLocation) -> None:
        if len(body) != 1:
            raise QapiError(location, "invalid 'include' directive")
        include = body["include"]
        if not isinstance(include, str):
            raise QapiError(location, "value of 'include' must be a string")
        file = os.path.join(os.path.dirname(self._file), include)
        absolute = os.path.abspath(file)
        if absolute in self._path:
            raise QapiError(location, f"inclusion loop for {include}")
        if absolute in self._known:
            return
        self._known.add(absolute)
        try:
            text = _read(file)
        except OSError as error:
            message = f"can't read include file '{file}': {error.strerror}"
            raise QapiError(location, message) from error
        _FileParser(self._schema, file, text, (*self._path, absolute), self._known).parse()

    def _value(self) -> Value:
        lexer = self._lexer
        kind = lexer.kind
        if kind == "{":
            lexer.advance()
            return self._members()
        if kind == "[":
            lexer.advance()
            return self._values()
        if kind in (STRING, "t", "f"):
            value = lexer.value
            lexer.advance()
            return value
        raise lexer.error("expected '{', '[', string, or boolean")

    def _members(self) -> dict[str, Value]:
        lexer = self._lexer
        members: dict[str, Value] = {}
        if lexer.kind == "}":
            lexer.advance()
            return members
        wanted = "expected string or '}'"
        while True:
            if lexer.kind != STRING:
                raise lexer.error(wanted)
            key = str(lexer.value)
            lexer.advance()
            if lexer.kind != ":":
                raise lexer.error("expected ':'")
            lexer.advance()
            if key in members:
                error = lexer.error(f"duplicate key '{key}'")
                again = depends(members[key]) and self._value()
                if not again or not depends(again):
                    raise error
                members[Again(key)] = again
            else:
                members[key] = self._value()
            if not self._another("}"):
                return members
            wanted = "expected string"

    def _values(self) -> list[Value]:
        lexer = self._lexer
        values: list[Value] = []
        if lexer.kind == "]":
            lexer.advance()
            return values
        if lexer.kind not in ("{", "[", STRING, "t", "f"):
            raise lexer.error("expected '{', '[', ']', string, or boolean")
        while True:
            values.append(self._value())
            if not self._another("]"):
                return values

    def _another(self, closing: str) -> bool:
        """Take a comma (True) or `closing` (False)."""
        kind = self._lexer.kind
        if kind not in (",", closing):
            raise self._lexer.error(f"expected ',' or '{closing}'")
        self._lexer.advance()
        return kind == ","


def _reject_loose(doc: RawDoc | None) -> None:
    if doc is not None and doc.symbol is not None:
        message = f"documentation for '{doc.symbol}' is not followed by the definition"
        raise QapiError(doc.location, message)


def _apply_pragmas(pragma: Pragma, body: dict[str, Value], location: SourceLocation) -> None:
    if len(body) != 1:
        raise QapiError(location, "invalid 'pragma' directive")
    settings = body["pragma"]
    if not isinstance(settings, dict):
        raise QapiError(location, "value of 'pragma' must be an object")
    for name, value in settings.items():
        if name == "doc-required":
            if not isinstance(value, bool):
                raise QapiError(location, "pragma 'doc-required' must be boolean")
            pragma.doc_required = value
        elif name in _LIST_PRAGMAS:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise QapiError(location, f"pragma {name} must be a list of strings")
            for attribute in _LIST_PRAGMAS[name]:
                setattr(pragma, attribute, frozenset(map(str, value)))
            pragma.historic |= name in _HISTORIC_PRAGMAS
        else:
            raise QapiError(location, f"unknown pragma '{name}'")
