"""The compiler: from a schema file to a checked `qmpd.qapi.entities.Schema`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qmpd.qapi.check import Checker
from qmpd.qapi.define import Definer
from qmpd.qapi.dialect import Dialect, DocRules, detect_dialect
from qmpd.qapi.doc import DocBlock, read_doc
from qmpd.qapi.doc_historic import read_historic_doc
from qmpd.qapi.entities import Schema
from qmpd.qapi.layout import check_layout
from qmpd.qapi.parser import ParsedSchema, QapiError, parse_schema
from qmpd.qapi.resolve import Resolver

__all__ = ["QapiError", "compile_schema"]


def compile_schema(path: str | Path) -> Schema:
    """Read, check and resolve the schema in `path` and the files it includes.

    The language is that of QEMU 10.2's ``scripts/qapi``, with older dialects where a schema
    shows its age (`qmpd.qapi.dialect`).  Errors are found in the order of QEMU's compiler:
    first those of the text, then those of each definition by itself, then double
    definitions, then everything between definitions, then descriptions of nothing.

    :param path: the main file; includes are relative to the file that has them
    :returns: the schema, in definition order
    :raises QapiError: the first error
    """
    parsed = parse_schema(os.fspath(path))
    dialect = detect_dialect(parsed)
    blocks = _read_docs(parsed, dialect)
    if parsed.failure:
        raise parsed.failure
    checker = Checker(dialect, parsed.pragma)
    definitions = [
        checker.check(expression, blocks.get(id(expression.doc)))
        for expression in parsed.expressions
    ]
    definer = Definer(_module_names(parsed.files))
    for definition in definitions:
        definer.define(definition)
    resolver = Resolver(definer, dialect, parsed.pragma)
    resolver.resolve()
    for block in blocks.values():
        block.check_claimed()
    resolver.check_feature_count()
    if dialect.strict_layout:
        check_layout(parsed.docs)
    modules = tuple(dict.fromkeys(_module_names(parsed.files).values()))
    return Schema(parsed.file, definer.entities, modules)


def _read_docs(parsed: ParsedSchema, dialect: Dialect) -> dict[int, DocBlock]:
    """The doc blocks, by the identity of their raw form."""
    if dialect.docs is DocRules.COMMENTS:
        return {}
    if dialect.docs is DocRules.HISTORIC:
        return {id(raw): read_historic_doc(raw, dialect) for raw in parsed.docs}
    return {id(raw): read_doc(raw, dialect.docs) for raw in parsed.docs}


def _module_names(files: Sequence[str]) -> dict[str, str]:
    """A module name per file: its stem, with the directory before it where stems meet."""
    stems: dict[str, str] = {}
    names = {}
    for file in files:
        path = Path(file)
        name = path.stem
        if stems.setdefault(name, file) != file:
            name = f"{path.parent.name}-{path.stem}"
        names[file] = name
    return names
