"""``qmpd lint``: which versions of QEMU would refuse what a client has sent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from qmpd.errors import QmpError

if TYPE_CHECKING:
    from qmpd.sim.lint import Asked
    from qmpd.sim.record.recording import Said


def main(argv: Sequence[str]) -> int:
    """Run ``qmpd lint``.

    :returns: 0 when nothing was found, 1 when something was, 2 when the file cannot be read
    :raises SystemExit: usage errors (status 2), ``--help``
    """
    from qmpd.cli.sessions import read_file
    from qmpd.sim.lint import as_json, as_sarif, between, lint

    options = _parser().parse_args(list(argv))
    try:
        versions = between(options.oldest, options.newest)
        findings = lint(requests_of(read_file(options.file)), versions)
    except (QmpError, ValueError) as error:
        text = error.desc if isinstance(error, QmpError) else str(error)
        print(f"qmpd lint: {text}", file=sys.stderr)
        return 2
    if options.format == "json":
        print(as_json(findings), end="")
    elif options.format == "sarif":
        print(as_sarif(findings, options.file), end="")
    else:
        for finding in findings:
            print(f"line {finding}")
        print(f"{len(findings)} findings for {versions[0]} to {versions[-1]}")
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="qmpd lint",
        description="Tell of each request in a recording ('qmpd record') which versions of QEMU"
        " refuse it, with their words, and what of it is deprecated.",
    )
    parser.add_argument("file", metavar="RECORDING")
    parser.add_argument("--from", dest="oldest", metavar="X.Y", help="the oldest version")
    parser.add_argument("--to", dest="newest", metavar="X.Y", help="the newest version")
    parser.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    return parser


def requests_of(said: Sequence[Said]) -> Iterator[Asked]:
    """The requests in a recording."""
    from qmpd.sim.lint import Asked

    for entry in said:
        message = entry.message
        if entry.side != "client" or not isinstance(message, dict):
            continue
        command = message.get("execute", message.get("exec-oob"))
        arguments = message.get("arguments", {})
        if isinstance(command, str) and isinstance(arguments, dict):
            yield Asked(entry.line, command, arguments)
