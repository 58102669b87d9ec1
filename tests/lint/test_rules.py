"""What of a session each rule of `qmpd.profile.rules` concerns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

import qmpd
from qmpd.profile.rule import Touch
from qmpd.profile.rules import RULES
from qmpd.profile.shipped import VERSIONS, load
from qmpd.sim.lint import between, lint
from tests.lint.sessions import Line, answer, ask, error, session, status

UNSEEN: Final[Mapping[str, str]] = {
    "nodes-tell-more": "the schema's conditions tell of the members",
    "no-active-option": "options within a file name, or of the command line",
    "no-recent-filters": "options within a file name, or of the command line",
    "no-recent-options": "options within a file name, or of the command line",
    "no-discard-no-unref": "options within a file name, or of the command line",
    "preconfig-and-incoming": "options of the command line",
    "monitors-are-objects": "options of the command line",
    "machines-check-floppies": "options of the command line",
    "processors-by-levels": "options of the command line",
    "processors-have-modules": "options of the command line",
    "audiodev-sections": "options of the command line",
    "boards-by-options": "options of the command line",
    "configuration-by-lines": "options of the command line",
    "configuration-lines-are-named": "options of the command line",
    "networks-are-not-located": "options of the command line",
    "networks-are-flat": "options of the command line",
    "networks-are-counted": "options of the command line",
    "backends-are-types": "options of the command line",
    "audio-help": "options of the command line",
    "tpm-help-succeeds": "options of the command line",
    "nic-help": "options of the command line",
    "sdl-is-parsed-apart": "options of the command line",
    "objects-without-schema": "options of the command line",
    "packages-are-named": "options of the command line",
    "trace-help-goes-to-errors": "options of the command line",
    "storage-daemon-closes-nothing": "the end of a program",
    "storage-daemon-names-no-options": "options of the command line",
    "storage-daemon-without-pid-file": "options of the command line",
    "nbd-extended-headers": "bytes between NBD clients and the server",
    "nbd-answers-bad-magic": "bytes between NBD clients and the server",
    "nbd-lists-early": "bytes between NBD clients and the server",
    "cancels-wait-for-requests": "a server that does not answer",
    "job-errors-are-numbers": "the error of a job that has failed, in an event or a query",
    "balloons-tell-of-reclaims": "what guests or devices tell, not how a client asks for it",
    "nvme-granularity-is-left": "what guests or devices tell, not how a client asks for it",
    "usb-disks-take-little-over": "what guests or devices tell, not how a client asks for it",
    "no-streams-by-default": "what guests or devices tell, not how a client asks for it",
    "nvme-controllers-bring-subsystems": "paths of devices that clients do not give names",
    "usb-disks-have-block-sizes": "what guests or devices tell, not how a client asks for it",
    "boards-are-flat": "paths of devices that clients do not give names",
    "dma-comes-late": "paths of devices that clients do not give names",
    "ports-unplug": "who unplugs a device shows at a reset, in an event",
    "xhci-tells-its-end": "who unplugs a device shows at a reset, in an event",
    "cards-by-default": "options of the command line",
    "help-shows-json": "options of the command line",
    "json-errors-have-places": "answers to what is no JSON, and so no request",
}
"""Rules that no request and no answer runs into, and why."""


def test_every_rule_is_told_or_cannot_be_seen() -> None:
    silent = {rule.name for rule in RULES if rule.change is None and not rule.touches}
    assert silent == set(UNSEEN)


def test_what_rules_touch_is_there() -> None:
    """Commands and arguments have no misprints."""
    for rule in RULES:
        for each in rule.touches:
            touch = Touch(each) if isinstance(each, str) else each
            command, *members = touch.path.split(".")
            having = [
                info
                for version in VERSIONS
                if (info := load(version).entry_points.commands.get(command)) is not None
            ]
            assert having, touch
            if members and members[0] != "*" and having[-1].gen:
                tables = [(load(v).types, load(v).entry_points.commands) for v in VERSIONS]
                assert any(
                    member.name == members[0]
                    for types, commands in tables
                    if command in commands and (named := commands[command].arguments) is not None
                    for member in _all_members(types, named)
                ), touch
            re.compile(touch.value)
            re.compile(touch.answer)


def _all_members(types: Any, name: str) -> list[Any]:
    info = types.object(name)
    branches = [member for each in info.branches.values() for member in types.object(each).members]
    return [*info.members, *branches]


def hmp(line: str, shown: str = "") -> tuple[Line, Line]:
    """A line of the human monitor, and what is shown."""
    return ask("human-monitor-command", command_line=line), answer(shown)


COPY: Final = ask("blockdev-backup", device="d", target="t", sync="full", job_id="j")
IN_USE: Final = "object 'tg' is in use, can not be deleted"

TOLD: Final[tuple[tuple[str, tuple[Line, ...]], ...]] = (
    ("processors-tell-their-type", hmp("info cpus")),
    ("no-graph-lock", (COPY, answer(), ask("blockdev-del", node_name="n"), answer())),
    ("graph-lock-drains", (COPY, answer(), ask("blockdev-add", driver="null-co"), answer())),
    ("snapshots-that-are-missed", hmp("loadvm s", "Error: Snapshot 's' does not exist\r\n")),
    ("unknown-watchdog-action", hmp("watchdog_action x", "Error: invalid parameter value: x\r\n")),
    ("regions-are-somewhere", hmp("info pci", "BAR0: I/O (not mapped)\r\n")),
    ("change-with-force", hmp("change -f cd x.iso")),
    ("objects-by-options", hmp('object_add {"qom-type": "iothread", "id": "i"}')),
    ("monitors-say-nothing-of-waiting", hmp("migrate tcp:h:1")),
    ("saved-state-is-passed-once", hmp("savevm s")),
    ("trace-event-of-a-processor", hmp("trace-event bdrv_co* off 0")),
    ("parameters-are-words", hmp("migrate_set_parameter mode normal x")),
    ("parameters-are-lines", hmp("migrate_set_parameter mode normal x")),
    ("objects-by-keyval", hmp("object_add iothread, id=i")),
    ("addresses-by-options", hmp("nbd_server_start localhost:10809,ipv4=on")),
    ("devices-keep-their-options", hmp("device_add x,id=i", "Duplicate ID 'i' for device\r\n")),
    ("short-boolean-options", hmp("device_add virtio-blk-pci,share-rw,drive=d")),
    ("wide-snapshots", hmp("info snapshots", "ID  TAG  VM_SIZE\r\n")),
    ("sizes-by-strtod", hmp('qemu-io d "write 1e3 512"')),
    ("sizes-begin-with-digits", hmp('qemu-io d "write 0x1k 512"')),
    ("truncate-with-mode", hmp('qemu-io d "truncate -m off 1M"')),
    ("title-on-standard-output", hmp('qemu-io d "info"')),
    ("registered-buffers", hmp('qemu-io d "read -r 0 512"')),
    ("zones", hmp('qemu-io d "zone_report 0 1"')),
    ("aio-discard", hmp('qemu-io d "aio_discard 0 512"')),
    ("errors-are-marked", hmp("commit d", "Device 'd' not found\r\n")),
    ("block-statistics", hmp("info blockstats")),
    ("parameters-in-groups", hmp("info migrate_parameters")),
    (
        "no-snapshots-to-list",
        hmp("info snapshots", "no block device can store vmstate for snapshot\r\n"),
    ),
    ("find-node", hmp("drive_del x", "Error: Failed to find node with node-name='x'\r\n")),
    (
        "other-types-are-no-devices",
        (
            ask("device-list-properties", typename="iothread"),
            error("Parameter 'typename' expects a non-abstract device type"),
        ),
    ),
    ("device-options-are-texts", (ask("device_add", driver="x", bootindex="1"), answer())),
    ("device-options-are-texts", (ask("device_add", driver="x", bootindex=1), answer())),
    ("throttle-groups-with-references", (ask("object-del", id="tg"), error(IN_USE))),
    ("bitmaps-need-a-writable-node", (ask("block-dirty-bitmap-add", persistent=True), answer())),
    (
        "multifd-with-postcopy",
        (
            ask(
                "migrate-set-capabilities", capabilities=[{"capability": "multifd", "state": True}]
            ),
            answer(),
        ),
    ),
    ("resize-says-in-use", (ask("block_resize", size=1), error("Node 'n' is busy: block device"))),
)
"""Rules, and what runs into them."""

QUIET: Final[tuple[tuple[str, tuple[Line, ...]], ...]] = (
    ("no-graph-lock", (ask("blockdev-del", node_name="n"), answer())),
    (
        "no-graph-lock",
        (COPY, answer(), status("j", "concluded"), ask("blockdev-del", node_name="n"), answer()),
    ),
    ("graph-lock-drains", (COPY, error("no"), ask("blockdev-del", node_name="n"), answer())),
    ("change-with-force", hmp("change cd x.iso")),
    ("objects-by-options", hmp("object_add iothread,id=i")),
    ("addresses-by-options", hmp("nbd_server_start localhost:10809")),
    ("short-boolean-options", hmp("device_add virtio-blk-pci,share-rw=on,drive=d")),
    ("sizes-by-strtod", hmp('qemu-io d "write -P 0x1 64k 0x200"')),
    ("sizes-begin-with-digits", hmp('qemu-io d "write 1.5k 512"')),
    ("registered-buffers", hmp('qemu-io d "read -P 1 0 512"')),
    ("errors-are-marked", hmp("commit d")),
    ("errors-are-marked", hmp("drive_add 0 if=none,id=d", "OK\r\n")),
    ("device-options-are-texts", (ask("device_add", driver="x", drive="d", id="i"), answer())),
    ("throttle-groups-with-references", (ask("object-del", id="tg"), answer())),
    ("bitmaps-need-a-writable-node", (ask("block-dirty-bitmap-add", persistent=False), answer())),
    (
        "multifd-with-postcopy",
        (
            ask("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}]),
            answer(),
        ),
    ),
)
"""Rules, and what does not run into them."""


def _rules(lines: tuple[Line, ...]) -> set[str]:
    """The rules that are told of a session with an unknown version."""
    sources = [str(finding.source) for finding in lint(session(*lines))]
    return {name for source in sources for name in re.findall(r"^rule ([\w.-]+):", source)}


@pytest.mark.parametrize(("rule", "lines"), TOLD, ids=[rule for rule, _ in TOLD])
def test_what_runs_into_a_rule(rule: str, lines: tuple[Line, ...]) -> None:
    assert rule in _rules(lines)


@pytest.mark.parametrize(("rule", "lines"), QUIET, ids=[rule for rule, _ in QUIET])
def test_what_does_not(rule: str, lines: tuple[Line, ...]) -> None:
    assert rule not in _rules(lines)


def test_otherwise_than_the_version_that_has_answered() -> None:
    """Told are the versions that differ from it, whichever of the two a rule is about."""
    with qmpd.Machine(version="5.2") as old, qmpd.Machine(version="10.0") as new:
        told = {}
        for vm in (old, new):
            assert "error" in vm.qmp("block-export-del", id="e")
            told[vm] = [
                (finding.versions, finding.why)
                for finding in vm.journal.filter(["connection", "request", "answer"]).lint()
                if "exports-go-later" in str(finding.source)
            ]
    gone = "An export is gone when its deletion has been answered"
    assert told[new] == [(("5.2",), gone)]
    assert told[old] == [(between("6.2"), f"it is not so that: {gone}")]
