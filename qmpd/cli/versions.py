"""``qmpd versions``: which versions of QEMU qmpd can be, and what that rests on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from qmpd.profile.shipped import DEFAULT, VERSIONS, load


def main(argv: Sequence[str]) -> int:
    """Print the list; returns the status.

    :raises SystemExit: usage errors (status 2), ``--help``
    """
    parser = argparse.ArgumentParser(
        prog="qmpd versions",
        description="List the versions of QEMU that qmpd can be: which were measured against the"
        " real programs, and whose behaviour the others have.",
    )
    parser.add_argument("--json", action="store_true", help="for programs: a list of objects")
    parser.add_argument(
        "--page", metavar="FILE", type=Path, help="write docs/versions.md: every difference"
    )
    options = parser.parse_args(list(argv))
    if options.page is not None:
        from qmpd.cli.versions_page import page

        options.page.write_text(page(entries()), encoding="utf-8")
    elif options.json:
        print(json.dumps(list(entries()), indent=2))
    else:
        for entry in entries():
            default = ", the default" if entry["default"] else ""
            print(f"{entry['name']}  ({entry['version']}{default}): {entry['rests-on']}")
    return 0


def entries() -> Iterator[dict[str, object]]:
    """What is told of each version."""
    for name in VERSIONS:
        profile = load(name)
        measured = profile.measured
        yield {
            "name": name,
            "version": str(profile.version),
            "default": name == DEFAULT,
            "measured": measured,
            "behaves-as": profile.behaves_as,
            "rests-on": "measured against the real programs"
            if measured
            else "schema compared with that of its sources;"
            f" behaves as {profile.behaves_as}, not measured",
        }
