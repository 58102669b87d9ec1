"""``qmpd schema``: check QAPI schemas, generate models from them, look definitions up."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from qmpd.profile.shipped import DEFAULT, VERSIONS, schema_path
from qmpd.qapi.compiler.entities import Schema
from qmpd.qapi.compiler.schema import changes, compile_schema
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
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["diff"]:
        # an option before NAME would end the names, as argparse has it
        words.sort(key=lambda word: (word != "diff", not word.startswith("-")))
    arguments = _parser().parse_args(words)
    match arguments.action:
        case "check":
            return _check(arguments.files)
        case "generate":
            return _generate(arguments.schema, arguments.version, arguments.output)
        case "reference":
            return _reference(arguments.output)
        case "diff":
            return _diff(arguments.old, arguments.new, arguments.name, as_json=arguments.json)
        case _:
            return _show(arguments.schema, arguments.version, arguments.name)


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
        "The first error of each is told as FILE:LINE: MESSAGE; the exit status is then 1. What "
        "holds several versions is checked for each of them.",
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
    diff = actions.add_parser(
        "diff",
        help="tell what changed between two versions",
        description="Tell what came, went, changed and was deprecated from version OLD to version "
        "NEW: in all commands, events and types, or in NAME and what it is made of.",
    )
    diff.add_argument("old", metavar="OLD", help="e.g. 5.2")
    diff.add_argument("new", metavar="NEW", help="e.g. 11.1")
    diff.add_argument("name", metavar="NAME", nargs="?", help="a command, an event or a type")
    diff.add_argument("--json", action="store_true", help="for programs: a list of objects")
    return parser


def _add_schema_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--schema", metavar="FILE", help="main file of the schema (default: the shipped one)"
    )
    parser.add_argument(
        "--version",
        metavar="X.Y",
        help=f"which version of a schema that holds several (default: {DEFAULT}, or the newest)",
    )


def _check(files: Iterable[str]) -> int:
    status = 0
    for file in files:
        try:
            releases = changes(file)
        except QapiError as error:
            releases = []
            print(error, file=sys.stderr)
            status = 1
            continue
        # before the first change, and from each on
        for version in ["0.0", *releases] if releases else [None]:
            if _compile(file, version) is None:
                status = 1
                break
    return status


def _generate(schema_file: str | None, version: str | None, output: Path | None) -> int:
    # Here, for generating needs modules that checking and showing do without.
    from qmpd.qapi.outputs.generate import generate

    if output is None:
        if schema_file is not None or version is not None:
            print("qmpd schema generate: where to? (--output)", file=sys.stderr)
            return 2
        return _generate_own()
    schema = _compile(schema_file, version)
    if schema is None:
        return 1
    generate(schema, output, output / "models")
    return 0


def _generate_own() -> int:
    """Generate what comes with qmpd: the profiles, and the control monitor's."""
    from qmpd.profile import models
    from qmpd.profile.shipped import CONTROL, directory
    from qmpd.qapi.outputs.generate import generate, generate_versions

    control = _compile(schema_path("sim.json"), DEFAULT)
    if control is None or any(_compile(None, version) is None for version in VERSIONS):
        return 1
    generate_versions(
        {version: compile_schema(schema_path(), version) for version in VERSIONS},
        compile_schema(schema_path(), DEFAULT),
        {version: directory(version) for version in VERSIONS},
        Path(models.__file__).parent,
    )
    generate(control, CONTROL, Path(CONTROL) / "models")
    return 0


def _reference(output: Path | None) -> int:
    from qmpd.qapi.outputs.reference import reference

    schema = _compile(schema_path("sim.json"), DEFAULT)
    if schema is None:
        return 1
    text = reference(schema, CONTROL_INTRO, lambda module: module.startswith("sim"))
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
    return 0


def _show(schema_file: str | None, version: str | None, name: str) -> int:
    schema = _compile(schema_file, version)
    if schema is None:
        return 1
    entity = schema.entities.get(name)
    if entity is None:
        own = schema_file is None
        where = f"{version or DEFAULT}" if own else "the schema"
        elsewhere = _elsewhere(name) if own else ""
        print(
            f"qmpd schema: there is no '{name}' in {where}{elsewhere or _hint(schema, name)}",
            file=sys.stderr,
        )
        return 1
    print(show(entity), end="")
    return 0


def _diff(old: str, new: str, name: str | None, *, as_json: bool) -> int:
    from qmpd.qapi.compiler.conditions import read_conditions
    from qmpd.qapi.outputs.diff import diff, diff_json, diff_text, with_conditions

    before, after = _compile(None, old), _compile(None, new)
    if before is None or after is None:
        return 1
    if name is not None and name not in before.entities and name not in after.entities:
        hint = _hint(after, name)
        print(f"qmpd schema: neither {old} nor {new} has '{name}'{hint}", file=sys.stderr)
        return 1
    changed = with_conditions(diff(before, after, name), read_conditions(schema_path()))
    backwards = VERSIONS.index(old) > VERSIONS.index(new)
    text = diff_json(changed) if as_json else diff_text(changed, old, new, backwards=backwards)
    print(text, end="")
    return 0


def _compile(file: str | None, version: str | None = None) -> Schema | None:
    """A version of the schema in `file`; None, after printing the error, if it is faulty.

    :param file: None: the shipped one, whose versions are those of the profiles
    :param version: None: the default of the shipped one, the newest of another one
    """
    try:
        if file is None:
            file, version = schema_path(), _known(version)
        elif version is None:
            version = next(reversed(changes(file)), None)
        return compile_schema(file, version)
    except (QapiError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return None


def _known(version: str | None) -> str:
    """The version wanted.

    :raises ValueError: qmpd does not have it
    """
    if version is not None and version not in VERSIONS:
        known = ", ".join(VERSIONS)
        raise ValueError(f"qmpd schema: there is no version {version} (there are: {known})")
    return version or DEFAULT


def _elsewhere(name: str) -> str:
    """The versions that have a definition called `name`, in words."""
    if not _written(name):
        return ""  # and all versions are not compiled, which takes seconds
    found = [
        version
        for version in VERSIONS
        if (schema := _compile(None, version)) is not None and name in schema.entities
    ]
    return f"; it is in {', '.join(found)}" if found else ""


def _written(name: str) -> bool:
    """Whether a file of the shipped schema may define `name`, in any version."""
    files = Path(schema_path()).parent.glob("*.json")
    return any(f"'{name}'" in file.read_text("utf-8") for file in files)


def _hint(schema: Schema, name: str) -> str:
    """A suggestion of names similar to `name`, ignoring case."""
    known = {entity.lower(): entity for entity in schema.entities if not entity.startswith("q_")}
    close = [known[match] for match in difflib.get_close_matches(name.lower(), known)]
    return f"; did you mean {' or '.join(close)}?" if close else ""
