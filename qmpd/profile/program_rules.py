"""Where versions of QEMU differ in images, JSON and programs (`qmpd.profile.rules`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import Completion, Rewording, Rule, Touch, line

_RUN_5_2: Final = "seen on 5.2, not on 7.2"

EVENTS_OF_PROCESSORS: Final = frozenset(
    {
        *("guest_cpu_enter", "guest_cpu_exit", "guest_cpu_reset"),
        *("guest_mem_before_exec", "guest_mem_before_trans"),
        *("guest_user_syscall", "guest_user_syscall_ret"),
    }
)
"""Trace events that were told of each processor."""


def _as_option(found: re.Match[str]) -> str:
    name = found[1].replace("_", "-")
    named = f"Option {name}" if found[2] == "expects" else f"Parameter '{name}'"
    return f"{named} {found[2]} {found[3].replace('_', '-')}"


PROGRAM_RULES: Final[Sequence[Rule]] = (
    Rule(
        "processors-by-levels",
        "The levels at which processors sit have to make as many places as there may be processors",
        "seen on 7.2, not on 5.2",
        first=(6, 2),
    ),
    Rule(
        "processors-have-modules",
        "Processors sit in modules, too, and -smp knows drawers and books",
        "seen on 10.0, not on 7.2",
        first=(10, 0),
    ),
    Rule(
        "machines-check-floppies",
        "-no-fd-bootchk stands for a property of the machine, which only PCs have",
        "seen on 10.0, not on 7.2",
        first=(10, 0),
    ),
    Rule(
        "configuration-lines-are-named",
        "Of a configuration file (-readconfig), the line that is wrong is told",
        "seen on 7.2, not on 10.0",
        last=(7, 2),
    ),
    Rule(
        "objects-without-schema",
        "-object finds what is wrong with a property when it sets it",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "packages-are-named",
        "A display adapter that is not there is said to be in a package of Debian's",
        "seen on 10.0, not on 7.2",
        first=(10, 0),
    ),
    Rule(
        "trace-help-goes-to-errors",
        "Names of trace events are printed on standard error; -D has other words for what is wrong",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "boards-by-options",
        "-smp and -boot are read as other options are",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "configuration-by-lines",
        "Configuration files are checked line by line; a section with a wrong id is none",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "audiodev-sections",
        "Configuration files may have sections of -audiodev",
        "seen on 10.0, not on 7.2",
        first=(10, 0),
    ),
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
        "storage-daemon-names-no-options",
        "qemu-storage-daemon does not say which option is wrong",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "storage-daemon-closes-nothing",
        "qemu-storage-daemon ends without a word of jobs and exports, and stores no bitmaps",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "storage-daemon-without-pid-file",
        "qemu-storage-daemon has no option pidfile",
        _RUN_5_2,
        last=(5, 2),
    ),
    Rule(
        "pid-files",
        "Why a PID file cannot be made is told without its name",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern="^(cannot create PID file): Could not create '.*': (.*)$",
            words=r"\1: Cannot open pid file: \2",
        ),
    ),
    Rule(
        "monitors-are-objects",
        "Option -mon is deprecated",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
    ),
    Rule(
        "migrates-to-uris",
        "Where a guest goes to is a URI, which is looked at once a migration has begun",
        "QAPI documentation: channels since 8.2; seen on 5.2 and 7.2",
        last=(8, 1),
        touches=(Touch("migrate.uri", answer="protocol|address|resume"),),
    ),
    Rule(
        "errors-of-decompression",
        "info migrate tells decompress-error-check, and not send-switchover-start",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(8, 2),
        touches=(line("info migrate"),),
    ),
    Rule(
        "multifd-levels",
        "Levels of multifd are set and checked; before, they are accepted and nothing is done",
        "seen on 10.0, not on 5.2 and 7.2",
        first=(9, 0),
        touches=(
            "migrate-set-parameters.multifd-zlib-level",
            "migrate-set-parameters.multifd-zstd-level",
        ),
    ),
    Rule(
        "multifd-excludes-compression",
        "Capability multifd excludes compress and xbzrle",
        "seen on 7.2, not on 5.2",
        first=(6, 0),
        touches=(
            Touch("migrate-set-capabilities.capabilities", '"multifd"'),
            line("migrate_set_capability +multifd .*"),
        ),
    ),
    Rule(
        "multifd-with-postcopy",
        "Capability multifd goes with postcopy-ram",
        "seen on 11.1, not on 10.0",
        first=(10, 1),
        touches=(
            Touch("migrate-set-capabilities.capabilities", '"(multifd|postcopy-ram)"'),
            line("migrate_set_capability +(multifd|postcopy-ram) .*"),
        ),
    ),
    Rule(
        "pause-of-a-recovery",
        "migrate-pause does not name the state of a migration that recovers",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        change=Rewording(
            pattern="during postcopy-active or postcopy-recover state$",
            words="during postcopy-active state",
        ),
    ),
    Rule(
        "incoming-is-deferred",
        "migrate-incoming tells which option it is for, whatever the command line has",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern="^'-incoming' was not specified on the command line$",
            words="For use with '-incoming defer'",
        ),
    ),
    Rule(
        "colo-needs-a-return-path",
        "Capability x-colo requires return-path",
        "seen on 11.1, not on 10.0",
        first=(11, 1),
        touches=(Touch("migrate-set-capabilities.capabilities", '"x-colo"'),),
    ),
    Rule(
        "parameters-in-groups",
        "info migrate_parameters has those together that belong together",
        "seen on 11.1, not on 10.0",
        first=(11, 0),
        touches=(line("info migrate_parameters"),),
    ),
    Rule(
        "options-of-migration",
        "A parameter of migration that is not allowed is told as an option, with dashes",
        "seen on 11.1, not on 10.0",
        first=(11, 0),
        change=Rewording(
            pattern="^Parameter '((?:announce|avail|cpu_throttle|downtime|max_cpu|max_post|multifd"
            "|throttle_trigger|vcpu|x-vcpu|xbzrle)[a-z_-]*)' (expects|must) "
            "(?!uint|a non-negative)(.*)$",
            words=_as_option,
        ),
    ),
    *(
        Rule(
            name,
            f"What is wrong with {what} is told with other words",
            _RUN_5_2,
            last=(5, 2),
            change=Rewording(pattern=f"^Parameter '({names})' expects {pattern}$", words=words),
        )
        for name, what, names, pattern, words in (
            (
                "migration-numbers",
                "numbers of threads and levels",
                "multifd_channels|compress_level|compress_threads|decompress_threads",
                r"a value between (\d+) and (\d+)",
                r"Parameter '\1' expects is invalid, it should be in the range of \2 to \3",
            ),
            (
                "announce-rounds",
                "the rounds of announcements",
                "announce_rounds",
                r"a value between (\d+) and (\d+)",
                r"Parameter '\1' expects is invalid, it must be in the range of \2 to \3",
            ),
            (
                "announce-times",
                "times of announcements",
                "announce_initial|announce_max",
                r"a value between 0 and (\d+)",
                r"Parameter '\1' expects is invalid, it must be less than \2 ms",
            ),
            (
                "announce-step",
                "the step of announcements",
                "announce_step",
                r"a value between 0 and (\d+)",
                r"Parameter '\1' expects is invalid, it must be in the range of 1 to \2 ms",
            ),
            (
                "xbzrle-cache-size",
                "the size of the cache",
                "xbzrle_cache_size",
                "a power of two no less than the target page size",
                r"Parameter '\1' expects is invalid, it should be bigger than target page size"
                " and a power of 2",
            ),
        )
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
        touches=("x-exit-preconfig",),
    ),
    Rule(
        "other-types-are-no-devices",
        "device-list-properties tells types that are no devices from abstract ones",
        _RUN_5_2,
        last=(5, 2),
        touches=(Touch("device-list-properties", answer="'typename' expects"),),
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
            value=lambda info: info["name"] in EVENTS_OF_PROCESSORS,
        ),
    ),
    Rule(
        "skipped-pages",
        "query-migrate tells skipped, always 0",
        "removed-features.rst: removed in 9.1; seen on 5.2 and 7.2",
        last=(9, 0),
        change=Completion(type="MigrationStats", member="skipped", value=lambda _: 0),
    ),
    Rule(
        "raw-data-files-are-preallocated",
        "All clusters of a qcow2 image with a raw data file are mapped when it is made or grown",
        "seen on 7.2, not on 5.2",
        first=(6, 0),
        touches=(Touch("blockdev-create.options.data-file-raw", "^true$"),),
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
    "audiodev-sections",
    "boards-by-options",
    "configuration-by-lines",
    "configuration-lines-are-named",
    "monitors-are-objects",
    "storage-daemon-closes-nothing",
    "storage-daemon-names-no-options",
    "storage-daemon-without-pid-file",
    "colo-needs-a-return-path",
    "errors-of-decompression",
    "machines-check-floppies",
    "migrates-to-uris",
    "json-errors-have-places",
    "mirror-skips-zeroes",
    "multifd-excludes-compression",
    "multifd-levels",
    "multifd-with-postcopy",
    "other-types-are-no-devices",
    "objects-without-schema",
    "packages-are-named",
    "parameters-in-groups",
    "preconfig-and-incoming",
    "processors-by-levels",
    "processors-have-modules",
    "raw-data-files-are-preallocated",
    "run-state-preconfig",
    "trace-help-goes-to-errors",
]
"""The names of those that are asked for."""
