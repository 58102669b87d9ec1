"""``qmpd schema``: check QAPI schemas, generate models from them, look definitions up."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from qmpd.profile.shipped import schema_path
from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.compiler.source import QapiError
from qmpd.qapi.outputs.show import show

CONTROL_INTRO = """\
# The control monitor's commands

Made from `schema/sim*.json` by `qmpd schema reference --output docs/control.md`. How to reach the
monitor, from the shell and from other languages: [Control a machine from any
language](howto/control.md). Besides these it has `qmp_capabilities`, `query-version`,
`query-commands` and `query-qmp-schema`.

What is not there (a node, an operation, an errno, an id) is a GenericError whose text names what
there is. Sizes and offsets are in bytes, times in seconds of the machine's clock unless it is said
otherwise.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``qmpd schema``.

    :param argv: arguments after ``qmpd schema``; None: those of the process
    :returns: exit status: 0, or 1 when a schema is faulty or a name unknown
    :raises SystemExit: usage errors (status 2), ``--help``
    """
    arguments = _parser().parse_args(argv)
    match arguments.action:
        case "check":
            return _check(arguments.files)
        case "generate":
            return _generate(arguments.schema, arguments.output)
        case "reference":
            return _reference(arguments.output)
        case _:
            return _show(arguments.schema, arguments.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qmpd schema",
        description="Work with QAPI schemas: the language QEMU's monitor commands are defined in.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="check schema files",
        description="Check each FILE, with the files it includes, by every rule of the language. "
        "The first error of each is told as FILE:LINE: MESSAGE; the exit status is then 1.",
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="main file of a schema")
    generate = actions.add_parser(
        "generate",
        help="generate a profile's tables and the models' declarations",
        description="Generate what a profile is made of: the tables of a schema's types, commands "
        "and events, and the stub files that declare their models.",
    )
    _add_schema_option(generate)
    generate.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="where to write: tables there, stubs to DIR/models (default: qmpd's own)",
    )
    reference = actions.add_parser(
        "reference",
        help="write the page about the control monitor",
        description="Write docs/control.md: all commands of the control monitor.",
    )
    reference.add_argument("--output", metavar="FILE", type=Path, help="default: standard output")
    show_ = actions.add_parser(
        "show",
        help="explain a command, event or type",
        description="Explain the command, event or type NAME: its members with types and "
        "documentation, features, conditions.",
    )
    _add_schema_option(show_)
    show_.add_argument("name", metavar="NAME", help="e.g. blockdev-add, JOB_STATUS_CHANGE")
    return parser


def _add_schema_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schema", metavar="FILE", help="main file of the schema (default: the shipped one)"
    )


def _check(files: Iterable[str]) -> int:
    status = 0
    for file in files:
        if _compile(file) is None:
            status = 1
    return status


def _generate(schema_file: str | None, output: Path | None) -> int:
    # Here, for generating needs modules that checking and showing do without.
    from qmpd.profile import models
    from qmpd.profile.shipped import CONTROL, DEFAULT, directory
    from qmpd.qapi.outputs.generate import generate

    schema = _compile(schema_file)
    if schema is None:
        return 1
    if output is None:
        generate(schema, directory(DEFAULT), Path(models.__file__).parent)
        control = _compile(schema_path("sim.json"))
        if control is None:
            return 1
        generate(control, CONTROL, Path(CONTROL) / "models")
    else:
        generate(schema, output, output / "models")
    return 0


def _reference(output: Path | None) -> int:
    from qmpd.qapi.outputs.reference import reference

    schema = _compile(schema_path("sim.json"))
    if schema is None:
        return 1
    text = reference(schema, CONTROL_INTRO, lambda module: module.startswith("sim"))
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
    return 0


def _show(schema_file: str | None, name: str) -> int:
    schema = _compile(schema_file)
    if schema is None:
        return 1
    entity = schema.entities.get(name)
    if entity is None:
        print(
            f"qmpd schema: there is no '{name}' in the schema{_hint(schema, name)}", file=sys.stderr
        )
        return 1
    print(show(entity), end="")
    return 0


def _compile(file: str | None) -> Schema | None:
    """The schema in `file`; None, after printing the error, if it is faulty."""
    try:
        return compile_schema(schema_path() if file is None else file)
    except (QapiError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return None


def _hint(schema: Schema, name: str) -> str:
    """A suggestion of names similar to `name`, ignoring case."""
    known = {entity.lower(): entity for entity in schema.entities if not entity.startswith("q_")}
    close = [known[match] for match in difflib.get_close_matches(name.lower(), known)]
    return f"; did you mean {' or '.join(close)}?" if close else ""
