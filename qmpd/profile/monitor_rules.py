"""Where the human monitors of versions of QEMU differ (`qmpd.profile.rules`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from qmpd.profile.rule import MonitorNames, Rewording, Rule, line

_RUN_5_2: Final = "seen on 5.2, not on 7.2"
_RUN_7_2: Final = "seen on 5.2 and 7.2, not on 10.0"
_RUN_10_0: Final = "seen on 10.0, not on 7.2"
_RUN_11_1: Final = "seen on 11.1, not on 10.0"


_IO: Final = r"qemu-io .*[\s\"']{}.*"
"""A command of qemu-io."""

_SIZE: Final = r"(?i:(qemu-io|block_resize) .*\s({})[kmgtpeb]?\b.*)"
"""A line with a size."""

_UNMARKED: Final = "^(?!Error: |OK|List of snapshots|There is no)."
"""What is shown and begins otherwise is an error without a mark."""


def _names(text: str) -> MonitorNames:
    """Commands, each a line or a word of a line that does not begin with info."""
    lines = [line.strip() for line in text.strip().splitlines()]
    words = [line.split() for line in lines]
    return MonitorNames(
        frozenset(
            name
            for first, *more in words
            for name in ([f"info {word}" for word in more] if first == "info" else [first, *more])
        )
    )


_NAMES: Final = (
    Rule(
        "sockets-have-one-address",
        "That a character device's socket has no address, or several, has words of its own",
        "seen on 5.2, not on 7.2",
        last=(5, 2),
        change=Rewording(
            pattern=(
                r"None or one of 'path', 'fd' or 'host' option required\.$"
                r"|Unable to parse FD number $"
            ),
            words="Exactly one of 'path', 'fd' or 'host' required",
        ),
    ),
    Rule(
        "monitor-5.2",
        "The human monitor has access lists, and what sets one parameter of migration",
        _RUN_5_2,
        last=(5, 2),
        change=_names("""
            acl_add acl_policy acl_remove acl_reset acl_show block_passwd
            migrate_set_cache_size migrate_set_downtime migrate_set_speed
            info cpustats ioapic migrate_cache_size
        """),
    ),
    Rule(
        "monitor-7.2",
        "The human monitor limits dirty pages, and shows statistics and virtio devices",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
        change=_names("""
            calc_dirty_rate cancel_vcpu_dirty_limit set_vcpu_dirty_limit dumpdtb s
            info dirty_rate sgx stats vcpu_dirty_limit virtio virtio-queue-element
            info virtio-queue-status virtio-status virtio-vhost-queue-status
        """),
    ),
    Rule(
        "monitor-until-7.2",
        "The human monitor has singlestep, and info profile and rdma",
        _RUN_7_2,
        last=(7, 2),
        change=_names("""
            singlestep
            info profile rdma
        """),
    ),
    Rule(
        "monitor-10.0",
        "The human monitor has one-insn-per-tb, Xen's events, and info cryptodev",
        _RUN_10_0,
        first=(10, 0),
        change=_names("""
            one-insn-per-tb xen-event-inject xen-event-list
            info cryptodev
        """),
    ),
    Rule(
        "monitor-until-10.0",
        "The human monitor has info opcount",
        "seen on 10.0, not on 11.1",
        last=(10, 0),
        change=_names("info opcount"),
    ),
    Rule(
        "monitor-11.1",
        "The human monitor has clear, and info accel, accelerators, firmware-log and via",
        _RUN_11_1,
        first=(11, 1),
        change=_names("""
            clear
            info accel accelerators firmware-log via
        """),
    ),
)
"""Commands that not every version has."""

_WORDS: Final = (
    Rule(
        "short-names-first",
        "The short names of quit and cont come first",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(pattern=r"\A(quit|cont)\|(.): ", words=r"\2|\1: ", of="monitor"),
    ),
    Rule(
        "stop-without-short-name",
        "stop has no short name",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(pattern=r"\Astop\|s: ", words=r"stop: ", of="monitor"),
    ),
    Rule(
        "write-without-n",
        "qemu-io's write does not say that a longer one is possible",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"\A(length cannot exceed \d+) without -n,", words=r"\1,", of="monitor"
        ),
    ),
    Rule(
        "no-usb",
        "info usb without USB is no error",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(pattern=r"\AError: (USB support not enabled)", words=r"\1", of="monitor"),
    ),
    Rule(
        "no-snapshots-to-list",
        "info snapshots has other words where no disk can have any",
        _RUN_5_2,
        last=(5, 2),
        change=Rewording(
            pattern=r"\Ano block device can store vmstate for snapshot$",
            words="No available block device supports snapshots",
            of="monitor",
        ),
    ),
    Rule(
        "snapshots-that-are-missed",
        "loadvm says which disk has no such snapshot, delvm nothing of disks that can have none;"
        " without a disk, savevm has other words, too",
        _RUN_5_2,
        last=(5, 2),
        touches=(
            line("(load|save|del)vm .*|savevm", answer="[Nn]o block device|[Ss]napshot|not found"),
        ),
    ),
    Rule(
        "unknown-watchdog-action",
        "watchdog_action says what is wrong in its own words",
        _RUN_5_2,
        last=(5, 2),
        touches=(line("watchdog_action .*", answer="invalid parameter value|Unknown watchdog"),),
    ),
    Rule(
        "regions-are-somewhere",
        "info pci shows an address of regions that are not mapped, too",
        _RUN_7_2,
        last=(7, 2),
        touches=(line("info pci", answer=r"\(not mapped\)|at 0xf{15}"),),
    ),
)
"""Texts."""

MONITOR_RULES: Final[Sequence[Rule]] = (
    *_NAMES,
    *_WORDS,
    Rule(
        "change-with-force",
        "change may open a locked tray",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
        touches=(line("change .*-f"),),
    ),
    Rule(
        "objects-by-options",
        "object_add takes options, without blanks, and says which of type and id is missing",
        _RUN_5_2,
        last=(5, 2),
        touches=(line(r"object_add .*[\s{].*"),),
    ),
    Rule(
        "objects-by-keyval",
        "object_add takes all that is left of the line, which may be JSON",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
        touches=(line(r"object_add .*[\s{].*"),),
    ),
    Rule(
        "parameters-are-words",
        "migrate_set_parameter takes a word as the value",
        "seen on 10.0, not on 11.1",
        last=(10, 0),
        touches=(line(r"migrate_set_parameter .*[\s\"].*"),),
    ),
    Rule(
        "parameters-are-lines",
        "migrate_set_parameter takes all that is left of the line as the value",
        _RUN_11_1,
        first=(11, 1),
        touches=(line(r"migrate_set_parameter .*[\s\"].*"),),
    ),
    Rule(
        "trace-event-of-a-processor",
        "trace-event heeds the processor that it is given",
        _RUN_7_2,
        last=(7, 2),
        touches=(line(r"trace-event \S+ \S+ \S.*"),),
    ),
    Rule(
        "monitors-say-nothing-of-waiting",
        "migrate says nothing where no monitor can wait for it",
        _RUN_11_1,
        first=(11, 1),
        touches=(line("migrate .*", answer="^$|synchronous migration"),),
    ),
    Rule(
        "saved-state-is-passed-once",
        "The state of a guest is passed through once for a snapshot, of which no event tells",
        _RUN_11_1,
        first=(11, 1),
        touches=(line("savevm", answer="^$"), "snapshot-save"),
    ),
    Rule(
        "mice-are-reported",
        "mouse_set shows what is wrong as it is",
        "seen on 5.2 and 7.2, not on 10.0",
        last=(7, 2),
        touches=(line("mouse_set", answer="not found"),),
    ),
    Rule(
        "migrations-in-groups",
        "info migrate tells what belongs together in a line, and what is global with -a only",
        "seen on 11.1, not on 10.0",
        first=(10, 1),
        touches=(line("info migrate"),),
    ),
    Rule(
        "addresses-without-tcp",
        "An address of the NBD server cannot begin with tcp:",
        _RUN_5_2,
        last=(5, 2),
        touches=(line(r"nbd_server_start( -[aw])* tcp:\S*"),),
    ),
    Rule(
        "addresses-by-options",
        "What follows a place in an address is read as other options are",
        _RUN_11_1,
        first=(11, 1),
        touches=(line("nbd_server_start .*,.*"),),
    ),
    Rule(
        "devices-keep-their-options",
        "device_add refuses an id that is taken as it refuses malformed options",
        _RUN_5_2,
        last=(5, 2),
        touches=(line("device_add .*", answer='Try "help|[Dd]uplicate'),),
    ),
    Rule(
        "short-boolean-options",
        "A boolean option without a value is warned of",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
        touches=(line(r"(device_add|drive_add|chardev-add) .*,[^=,\s]+(,.*)?"),),
    ),
    Rule(
        "wide-snapshots",
        "Tables of snapshots have two columns more for numbers, and two less for clocks",
        _RUN_7_2,
        last=(7, 2),
        touches=(line("info snapshots", answer="TAG"),),
    ),
    Rule(
        "sizes-by-strtod",
        "Sizes may be hexadecimal with a suffix, or have an exponent; parts of bytes are cut off",
        _RUN_5_2,
        last=(5, 2),
        touches=(line(_SIZE.format(r"0x[0-9a-f]*[kmgtpe]|\d*\.?\d*e[-+]?\d+|\d*\.\d+")),),
    ),
    Rule(
        "sizes-begin-with-digits",
        "A suffix may follow hexadecimal digits, and a digit must come before a point",
        "seen on 7.2, not on 5.2 and 10.0",
        first=(7, 2),
        last=(7, 2),
        touches=(line(_SIZE.format(r"0x[0-9a-f]*[kmgtp]|\.\d+")),),
    ),
    Rule(
        "truncate-with-mode",
        "qemu-io's truncate takes -m",
        "seen on 7.2, not on 5.2",
        first=(7, 2),
        touches=(line(_IO.format("truncate +-m")),),
    ),
    Rule(
        "registered-buffers",
        "qemu-io has option -r, which registers the buffer",
        _RUN_10_0,
        first=(10, 0),
        touches=(line(_IO.format("(aio_)?(read|write) .*-[a-zA-Z]*r")),),
    ),
    Rule(
        "title-on-standard-output",
        "qemu-io info titles what is specific to a format on standard output",
        _RUN_7_2,
        last=(7, 2),
        touches=(line(_IO.format("info")),),
    ),
    Rule(
        "zones",
        "qemu-io has commands for zones",
        _RUN_10_0,
        first=(10, 0),
        touches=(
            line(_IO.format("(zone_(append|close|finish|open|report|reset)|z(ap|c|f|o|rp|rs))")),
        ),
    ),
    Rule(
        "aio-discard",
        "qemu-io has aio_discard",
        _RUN_11_1,
        first=(11, 1),
        touches=(line(_IO.format("aio_discard")),),
    ),
    Rule(
        "errors-are-marked",
        "The human monitor puts Error: before whatever is reported as one",
        _RUN_11_1,
        first=(11, 1),
        touches=(line("(commit|drive_add|drive_del|info snapshots).*", answer=_UNMARKED),),
    ),
    Rule(
        "block-statistics",
        "info blockstats shows tables",
        _RUN_11_1,
        first=(11, 1),
        touches=(line("info blockstats"),),
    ),
)
"""All of them, in the order in which rewordings are tried."""

MonitorName = Literal[
    "devices-keep-their-options",
    "snapshots-that-are-missed",
    "unknown-watchdog-action",
    "addresses-by-options",
    "addresses-without-tcp",
    "mice-are-reported",
    "migrations-in-groups",
    "regions-are-somewhere",
    "change-with-force",
    "objects-by-keyval",
    "objects-by-options",
    "parameters-are-lines",
    "parameters-are-words",
    "monitors-say-nothing-of-waiting",
    "saved-state-is-passed-once",
    "trace-event-of-a-processor",
    "short-boolean-options",
    "wide-snapshots",
    "sizes-by-strtod",
    "sizes-begin-with-digits",
    "truncate-with-mode",
    "registered-buffers",
    "title-on-standard-output",
    "zones",
    "aio-discard",
    "errors-are-marked",
    "block-statistics",
]
"""The names of rules that are asked for."""
