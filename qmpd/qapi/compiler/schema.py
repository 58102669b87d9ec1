"""The compiler: from a schema file to a checked `qmpd.qapi.compiler.entities.Schema`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qmpd.qapi.compiler.check import Checker
from qmpd.qapi.compiler.define import Definer
from qmpd.qapi.compiler.dialect import Dialect, DocRules, Rule, detect_dialect, has_plain_comments
from qmpd.qapi.compiler.doc import DocBlock, read_doc
from qmpd.qapi.compiler.doc_historic import read_historic_doc
from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.compiler.layout import check_layout
from qmpd.qapi.compiler.parser import ParsedSchema, QapiError, parse_schema
from qmpd.qapi.compiler.resolve import Resolver
from qmpd.qapi.compiler.versions import parse_release, releases, select

__all__ = ["QapiError", "compile_schema"]


def compile_schema(path: str | Path, version: str | None = None) -> Schema:
    """Read, check and resolve the schema in `path` and the files it includes.

    The language is that of QEMU 10.2's ``scripts/qapi``, with older dialects where a schema
    shows its age (`qmpd.qapi.compiler.dialect`).  Errors are found in the order of QEMU's compiler:
    first those of the text, then those of each definition by itself, then double
    definitions, then everything between definitions, then descriptions of nothing.

    :param path: the main file; includes are relative to the file that has them
    :param version: of a schema that holds several versions (`qmpd.qapi.compiler.versions`), the
        one wanted, e.g. ``7.2``; None: conditions on versions are left as they are
    :returns: the schema, in definition order
    :raises QapiError: the first error
    """
    parsed = parse_schema(os.fspath(path))
    if parsed.failure:
        without_docs = parse_schema(os.fspath(path), with_docs=False)
        if has_plain_comments(without_docs):
            parsed = without_docs
    dialect = detect_dialect(parsed)
    if version is not None:
        select(parsed, parse_release(version))
    blocks, dialect = _read_docs(parsed, dialect)
    for expression in parsed.expressions:
        if block := blocks.get(id(expression.doc)):
            block.forget(expression.gone_members, expression.gone_features)
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
    if dialect.layout is Rule.LENIENT:
        check_layout(parsed.docs)
    modules = tuple(dict.fromkeys(_module_names(parsed.files).values()))
    return Schema(parsed.file, definer.entities, modules)


def changes(path: str | Path) -> list[str]:
    """The versions with which something changes in the schema in `path`, oldest first.

    :raises QapiError: it cannot be read
    """
    parsed = parse_schema(os.fspath(path))
    if parsed.failure:
        raise parsed.failure
    return [f"{major}.{minor}" for major, minor in releases(parsed)]


def _read_docs(parsed: ParsedSchema, dialect: Dialect) -> tuple[dict[int, DocBlock], Dialect]:
    """The doc blocks, by the identity of their raw form, and the dialect they are written in.

    A module by itself, or a text up to a syntax error, may look older than the whole is.  So
    the rules by which fewest blocks are at fault are taken for theirs, in doubt today's.

    :raises QapiError: the first fault by those rules
    """
    best: tuple[dict[int, DocBlock], list[QapiError], Dialect] | None = None
    for rules in _candidates(parsed, dialect):
        candidate = replace(dialect, docs=rules)
        blocks, faults = _try_docs(parsed, candidate)
        if best is None or len(faults) < len(best[1]):
            best = blocks, faults, candidate
        if not faults:
            break
    assert best is not None
    if best[1]:
        raise best[1][0]
    return best[0], best[2]


def _candidates(parsed: ParsedSchema, dialect: Dialect) -> tuple[DocRules, ...]:
    if dialect.is_2012 or not parsed.with_docs:
        return (DocRules.COMMENTS,)
    if dialect.docs in (DocRules.CURRENT, DocRules.TAGGED):
        return (dialect.docs,)
    if dialect.docs is DocRules.HISTORIC or parsed.failure:
        return (DocRules.CURRENT, DocRules.HISTORIC)
    return (DocRules.CURRENT, DocRules.HISTORIC, DocRules.COMMENTS)


def _try_docs(
    parsed: ParsedSchema, dialect: Dialect
) -> tuple[dict[int, DocBlock], list[QapiError]]:
    """The doc blocks, and the faults of those that have one."""
    blocks: dict[int, DocBlock] = {}
    faults: list[QapiError] = []
    if dialect.docs is DocRules.COMMENTS:
        return blocks, faults
    read = read_historic_doc if dialect.docs is DocRules.HISTORIC else read_doc
    for raw in parsed.docs:
        try:
            blocks[id(raw)] = read(raw, dialect)
        except QapiError as error:
            faults.append(error)
    return blocks, faults


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
