"""Where versions of QEMU differ in images, JSON and programs (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Rule

PROGRAM_RULES: Final[Sequence[Rule]] = (
    Rule(
        "raw-data-files-are-preallocated",
        "All clusters of a qcow2 image with a raw data file are mapped when it is made or grown",
        "seen on 7.2, not on 5.2",
        first=(6, 0),
        touches=("blockdev-create.options.data-file-raw",),
    ),
    Rule(
        "mirror-skips-zeroes",
        "A mirror writes no zeroes where its target reads as zeroes already",
        "QAPI documentation: target-is-zero since 10.1; seen on 11.1, not on 10.0",
        first=(10, 1),
        touches=("blockdev-mirror", "drive-mirror"),
    ),
    Rule(
        "json-errors-have-places",
        "Errors in JSON tell line and column, at once, and name what was expected otherwise",
        "seen on 11.1, not on 10.0",
        first=(11, 0),
    ),
)

ProgramName = Literal[
    "json-errors-have-places",
    "mirror-skips-zeroes",
    "raw-data-files-are-preallocated",
]
"""The names of those that are asked for."""
