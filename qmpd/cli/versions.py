"""``qmpd versions``: which versions of QEMU qmpd can be, and what that rests on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

from qmpd.profile.shipped import DEFAULT, VERSIONS, load

USAGE = """\
usage: qmpd versions [--json]

List the versions of QEMU that qmpd can be: which were measured against the real programs, and
whose behaviour the others have.
"""


def main(argv: Sequence[str]) -> int:
    """Print the list; returns the status."""
    words = list(argv)
    if words in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if words == ["--json"]:
        print(json.dumps(list(_entries()), indent=2))
        return 0
    if words:
        print(USAGE, end="", file=sys.stderr)
        return 2
    for entry in _entries():
        default = ", the default" if entry["default"] else ""
        print(f"{entry['name']}  ({entry['version']}{default}): {entry['rests-on']}")
    return 0


def _entries() -> Iterator[dict[str, object]]:
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
            else f"schema from public facts; behaves as {profile.behaves_as}, not measured",
        }
