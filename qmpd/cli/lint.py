"""``qmpd lint``: what other versions make of what a client has sent, and what it overlooks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError, QmpError

if TYPE_CHECKING:
    from qmpd.sim.lint import Finding
    from qmpd.sim.lint.needs import Need

ABOUT: Final = """\
Tell what is wrong, or will be with another version of QEMU, in a recorded session ('qmpd record'):

"""

MORE: Final = """\

The status is 1 when something was found, 2 when a file cannot be read. docs/howto/lint.md has more.
"""


def main(argv: Sequence[str]) -> int:
    """Run ``qmpd lint``.

    :returns: 0 when nothing was found, 1 when something was, 2 when a file cannot be read
    :raises SystemExit: usage errors (status 2), ``--help``
    """
    options = _parser().parse_args(list(argv))
    try:
        return _lint(options)
    except (QmpError, ValueError) as error:
        text = error.desc if isinstance(error, QmpError) else str(error)
        print(f"qmpd lint: {text}", file=sys.stderr)
        return 2


def _lint(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from qmpd.cli.sessions import read_file
    from qmpd.sim.lint import between, lint
    from qmpd.sim.lint.finding import span
    from qmpd.sim.lint.formats import as_json, as_sarif
    from qmpd.sim.lint.session import session_of_recording

    versions = between(options.oldest, options.newest)
    needs = [] if options.needs is None else _read_needs(options.needs)
    only = _kinds(options.only)
    session = session_of_recording(read_file(options.file))
    findings = [each for each in lint(session, versions, needs) if not only or each.kind in only]

    def file_of(finding: Finding) -> str:
        return str(options.needs if finding.kind == "lacking" else options.file)

    if options.format == "json":
        print(as_json(map(asdict, findings)), end="")
    elif options.format == "sarif":
        print(as_sarif((each, (file_of(each), each.place)) for each in findings), end="")
    else:
        for finding in findings:
            where = f"{options.needs}, " if finding.kind == "lacking" else ""
            print(f"{where}line {finding}")
        count = f"{len(findings)} finding{'s' * (len(findings) != 1)}"
        print(f"{count} for {span(versions)}")
    return 1 if findings else 0


def _read_needs(path: str) -> list[Need]:
    """The needs in a file.

    :raises QmpError: it cannot be read, or no version has one of them
    """
    from qmpd.sim.lint.needs import read_needs_of

    try:
        return read_needs_of(path)
    except ValueError as error:
        raise GenericError(str(error)) from None


def _kinds(text: str | None) -> list[str]:
    """The kinds of ``--only``; none: all.

    :raises ValueError: there is no such kind
    """
    from qmpd.sim.lint.finding import KINDS

    kinds = [] if text is None else text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"there is no kind '{kind}' (there are: {', '.join(KINDS)})")
    return kinds


def _parser() -> argparse.ArgumentParser:
    from qmpd.profile.shipped import VERSIONS
    from qmpd.sim.lint.finding import KINDS

    lines = "".join(f"  {kind:<11} {text}\n" for kind, (_, text) in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="qmpd lint",
        description=ABOUT + lines,
        epilog=MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="RECORDING")
    add = parser.add_argument
    add(
        "--from",
        dest="oldest",
        metavar="X.Y",
        help=f"the oldest version that the client is to work with (default: {VERSIONS[0]})",
    )
    add("--to", dest="newest", metavar="X.Y", help=f"the newest one (default: {VERSIONS[-1]})")
    add(
        "--needs",
        metavar="FILE",
        help="a list of what the client needs to be told, a line each: a member of an answer"
        " (query-block-jobs.return[].auto-finalize), of an event's data"
        " (BLOCK_JOB_COMPLETED.data.error) or of a type (BlockInfo.qdev), or a command",
    )
    add("--only", metavar="KIND[,KIND...]", help="only these kinds")
    add(
        "--format",
        choices=("text", "json", "sarif"),
        default="text",
        help="for people, or for programs (default: text)",
    )
    return parser
