"""Where versions of QEMU differ in images, JSON and programs (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Completion, Rewording, Rule

_RUN_5_2: Final = "seen on 5.2, not on 7.2"

_OF_PROCESSORS: Final = frozenset(
    {
        *("guest_cpu_enter", "guest_cpu_exit", "guest_cpu_reset"),
        *("guest_mem_before_exec", "guest_mem_before_trans"),
        *("guest_user_syscall", "guest_user_syscall_ret"),
    }
)
"""Trace events that were told of each processor."""

PROGRAM_RULES: Final[Sequence[Rule]] = (
    Rule(
        "unsupported-machine-type",
        "A machine type that is not known is told of at its option",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern='^unsupported machine type: "(.*)"$',
            words=r"-machine \1: unsupported machine type",
        ),
    ),
    Rule(
        "which-machine-type",
        "A machine type that is not known is not named",
        "seen on 7.2, not on 10.0",
        first=(6, 0),
        last=(8, 2),
        change=Rewording(
            pattern='^unsupported machine type: ".*"$', words="unsupported machine type"
        ),
    ),
    Rule(
        "preconfig-and-incoming",
        "Options preconfig and incoming exclude each other",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "run-state-preconfig",
        "With --preconfig the run state is preconfig; x-exit-preconfig is answered before it ends",
        "removed-features.rst, QAPI documentation: until 5.2; seen on 5.2, not on 7.2",
        last=(5, 2),
    ),
    Rule(
        "other-types-are-no-devices",
        "device-list-properties tells types that are no devices from abstract ones",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "expects-a-device",
        "device-list-properties tells what it expects without an article",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern="^Parameter 'typename' expects a non-abstract device type$",
            words="Parameter 'typename' expects non-abstract device type",
        ),
    ),
    Rule(
        "expects-an-object",
        "qom-list-properties of an interface tells that an object is expected",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern="^Parameter 'typename' expects a QOM type$",
            words="Parameter 'typename' expects object",
        ),
    ),
    Rule(
        "trace-events-of-processors",
        "Trace events tell whether they are told of each processor",
        "QAPI documentation: until 9.0; seen on 5.2 and 7.2",
        last=(9, 0),
        change=Completion(
            type="TraceEventInfo",
            member="vcpu",
            value=lambda info: info["name"] in _OF_PROCESSORS,
        ),
    ),
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
    "other-types-are-no-devices",
    "preconfig-and-incoming",
    "raw-data-files-are-preallocated",
    "run-state-preconfig",
]
"""The names of those that are asked for."""
