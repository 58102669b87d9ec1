"""What lint says that a version refuses, beside the real program of that version.

A request that it says is refused gets the same error from the program; one that it says is not gets
none that says so (it may fail for other reasons: what it names is not there).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from qmpd.cli.sessions import read_file
from qmpd.profile.shipped import load
from qmpd.sim.lint import Asked, Session, lint
from qmpd.sim.lint.refusals import refusal
from qmpd.sim.lint.session import session_of_recording
from tests.lint.test_recordings import RECORDINGS
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, real_argv

pytestmark = [
    pytest.mark.differential,
    pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing())),
]

PROGRAM: Final = "qemu-system-x86_64"
NO_GUEST: Final = ("-nodefaults", "-display", "none", "-qmp", "stdio")
SYSTEM: Final = [PROGRAM, "-machine", "none", *NO_GUEST]

_REFUSAL: Final = re.compile(
    r"The command \S+ (has not been found|does not support OOB)"
    r"|Parameter '\S*' (is missing|is unexpected|does not accept value '.*'|expects .*)"
    r"|Invalid parameter( type for)? '.*'(, expected: .*)?"
)
"""What a program says that refuses a request as such."""

_ENDING: Final = frozenset(
    {"quit", "x-exit-preconfig", "qmp_capabilities", "human-monitor-command"}
)
"""What is not sent: it would end the session, or is about something else."""

KINDS: Final[Mapping[str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "commands": (
        ("block_passwd", {"device": "d", "password": "p"}),
        ("change", {"device": "d", "target": "t"}),
        ("x-blockdev-reopen", {"driver": "null-co", "node-name": "n"}),
        ("blockdev-reopen", {"options": [{"driver": "null-co", "node-name": "n"}]}),
        ("query-yank", {}),
        ("query-stats-schemas", {}),
        ("blockdev-set-active", {"active": True}),
        ("query-accelerators", {}),
        ("query-rocker-ports", {"name": "n"}),
        ("set_password", {"protocol": "vnc", "password": "p"}),
        ("x-query-profile", {}),
        ("snapshot-save", {"job-id": "j", "tag": "t", "vmstate": "n", "devices": []}),
        ("block-job-change", {"id": "j", "type": "mirror", "copy-mode": "write-blocking"}),
        ("query-sgx", {}),
        ("qom-list-get", {"paths": []}),
    ),
    "arguments": (
        ("query-block", {"flat": True}),
        ("blockdev-backup", {"device": "d", "target": "t", "sync": "full", "x-perf": {}}),
        ("blockdev-backup", {"device": "d", "target": "t", "sync": "full", "discard-source": True}),
        ("block-stream", {"device": "d", "bottom": "b"}),
        ("block-commit", {"device": "d", "backing-mask-protocol": True}),
        ("blockdev-mirror", {"device": "d", "target": "t", "sync": "full", "target-is-zero": True}),
        ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "name": "x"}),
        ("nbd-server-start", {"addr": {"type": "unix", "data": {}}, "handshake-max-seconds": 1}),
        ("query-named-block-nodes", {"flat": True}),
        ("block-job-cancel", {"device": "j", "force": True}),
        (
            "block-dirty-bitmap-merge",
            {"node": "n", "target": "b", "bitmaps": [{"node": "n", "name": "b"}]},
        ),
    ),
    "values": (
        (
            "blockdev-add",
            {"driver": "copy-before-write", "node-name": "c", "file": "f", "target": "t"},
        ),
        ("blockdev-add", {"driver": "snapshot-access", "node-name": "s", "file": "f"}),
        ("blockdev-add", {"driver": "gluster", "volume": "v", "path": "p", "server": []}),
        (
            "blockdev-add",
            {"driver": "sheepdog", "vdi": "v", "server": {"type": "unix", "path": "p"}},
        ),
        (
            "blockdev-add",
            {"driver": "raw", "file": {"driver": "file", "filename": "f", "aio": "io_uring"}},
        ),
        ("blockdev-mirror", {"device": "d", "target": "t", "sync": "bitmap", "bitmap": "b"}),
        ("block-export-add", {"type": "vduse-blk", "id": "e", "node-name": "n", "name": "v"}),
        (
            "migrate-set-capabilities",
            {"capabilities": [{"capability": "mapped-ram", "state": True}]},
        ),
        (
            "migrate-set-capabilities",
            {"capabilities": [{"capability": "zero-blocks", "state": True}]},
        ),
        ("set-action", {"panic": "exit-failure"}),
    ),
    "parts": (
        (
            "transaction",
            {
                "actions": [
                    {"type": "block-dirty-bitmap-remove", "data": {"node": "n", "name": "b"}}
                ]
            },
        ),
        (
            "transaction",
            {
                "actions": [
                    {
                        "type": "blockdev-backup",
                        "data": {
                            "device": "d",
                            "target": "t",
                            "sync": "full",
                            "discard-source": True,
                        },
                    }
                ]
            },
        ),
        (
            "blockdev-create",
            {
                "job-id": "j",
                "options": {"driver": "qcow2", "file": "f", "size": 1, "extended-l2": True},
            },
        ),
        (
            "blockdev-create",
            {
                "job-id": "k",
                "options": {"driver": "qcow2", "file": "f", "size": 1, "compression-type": "zstd"},
            },
        ),
        ("object-add", {"qom-type": "iothread", "id": "i", "props": {"poll-max-ns": 1}}),
        ("object-add", {"qom-type": "iothread", "id": "j", "poll-max-ns": 1}),
        ("object-add", {"qom-type": "main-loop", "id": "m"}),
        (
            "blockdev-add",
            {"driver": "nbd", "server": {"type": "unix", "path": "p"}, "open-timeout": 1},
        ),
        ("blockdev-add", {"driver": "qcow2", "file": "f", "discard-no-unref": True}),
    ),
    "types": (
        ("block-dirty-bitmap-merge", {"node": "n", "target": "b", "bitmaps": "b"}),
        ("blockdev-add", {"driver": "raw", "file": 5}),
        ("block-job-set-speed", {"device": "d", "speed": "fast"}),
        ("transaction", {"actions": {}}),
        ("transaction", {"actions": [{"type": "abort", "data": {}, "more": 1}]}),
        ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "iothread": ["i"]}),
    ),
}
"""Requests that are refused by some version, by what of them it is about."""


@pytest.fixture(scope="module", params=MEASURED)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def program(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StdioProgram]:
    program = StdioProgram(real_argv(version, SYSTEM), tmp_path_factory.mktemp("qemu"))
    program.message()
    program.execute({"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}})
    yield program
    program.close()


def _compare(program: StdioProgram, version: str, asked: Asked, *, early: bool = False) -> None:
    """Send a request, and compare what is said with what lint says.

    :param early: whether the machine is not made yet
    """
    verb = "exec-oob" if asked.oob else "execute"
    request = {verb: asked.command, "arguments": dict(asked.arguments)}
    said = program.execute(request)[-1].get("error", {}).get("desc")
    verdict = refusal(load(version), asked, early=early)
    if verdict is not None:
        assert said == verdict, request
    else:
        assert said is None or _REFUSAL.fullmatch(said) is None, (request, said)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_refusal(program: StdioProgram, version: str, kind: str) -> None:
    for command, arguments in KINDS[kind]:
        _compare(program, version, Asked(0, command, arguments))


def test_each_kind_is_refused_by_some_and_not_by_all() -> None:
    for kind, requests in KINDS.items():
        asked = [Asked(number, *each) for number, each in enumerate(requests)]
        found = {finding.kind for finding in lint(Session.of(asked), MEASURED)}
        assert "refused" in found or kind == "types"


def _requests(path: Path) -> list[Asked]:
    """The requests of a recording, each once."""
    found: dict[str, Asked] = {}
    for asked in session_of_recording(read_file(str(path))).requests:
        if asked.command not in _ENDING:
            found.setdefault(json.dumps([asked.command, asked.arguments, asked.oob]), asked)
    return list(found.values())


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_what_clients_ask(program: StdioProgram, version: str, path: Path) -> None:
    for asked in _requests(path):
        _compare(program, version, asked)


def test_out_of_band(program: StdioProgram, version: str) -> None:
    for command in ("query-status", "migrate-pause", "yank", "no-such-command"):
        _compare(program, version, Asked(0, command, {}, oob=True))


def test_before_the_machine_is_made(version: str, tmp_path: Path) -> None:
    argv = real_argv(version, [PROGRAM, *NO_GUEST, "-preconfig"])
    program = StdioProgram(argv, tmp_path)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    for command in ("query-status", "query-block", "query-jobs", "cont", "query-cpus-fast"):
        _compare(program, version, Asked(0, command, {}), early=True)
    program.close()


@pytest.mark.parametrize("version", MEASURED[1:])  # 5.2 has no -compat
def test_what_is_deprecated(version: str, tmp_path: Path) -> None:
    """A program that rejects what is deprecated rejects what is said to be, and nothing else."""
    argv = [*SYSTEM, "-compat", "deprecated-input=reject"]
    program = StdioProgram(real_argv(version, argv), tmp_path)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    requests = [("drive-backup", {"device": "d", "target": "t", "sync": "full"}), ("query-kvm", {})]
    requests += [each for kind in KINDS.values() for each in kind]
    for command, arguments in requests:
        asked = Asked(0, command, arguments)
        kinds = {finding.kind for finding in lint(Session.of([asked]), (version,))}
        if kinds & {"error", "refused"}:
            continue
        answer = program.execute({"execute": command, "arguments": arguments})[-1]
        said = answer.get("error", {}).get("desc", "")
        rejected = "disabled by policy" in said or "has not been found" in said
        assert rejected == ("deprecated" in kinds), (command, said)
    program.close()
