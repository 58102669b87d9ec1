"""query-commands and query-qmp-schema as a client sees them, on qmpd and on the real programs.

Two things may differ, and nothing else: commands that qmpd does not serve are not listed, nor
are types that only those use; and what only qmpd has (`Profile.beyond`) is listed in addition.
The masks of types count what is listed, so they are given anew to what is left of QEMU's list,
by the rule of scripts/qapi/introspect.py: in the order of first use.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from qmpd import profile
from tests.support.introspection import differences
from tests.support.programs import qmpd_argv
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, qmpd_argv_as, real_argv

SYSTEM = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
SYSTEM += ["-qmp", "stdio"]
STORAGE_DAEMON = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "c"]
HIDING = "deprecated-output=hide,unstable-output=hide"

HIDING_ARGV = [*SYSTEM, "-compat", HIDING]
PROGRAMS = (("system", SYSTEM), ("storage-daemon", STORAGE_DAEMON), ("hiding", HIDING_ARGV))
VERSIONS = pytest.mark.parametrize(
    ("version", "argv"),
    [
        pytest.param(version, argv, id=f"{name}-{version}")
        for version in MEASURED
        for name, argv in PROGRAMS
        # there are no policies before 6.0
        if version != "5.2" or argv is not HIDING_ARGV
    ],
)

Infos = list[dict[str, Any]]


def _ask(argv: list[str], cwd: Path, command: str) -> Any:
    program = StdioProgram(argv, cwd)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    answer = program.execute({"execute": command})[-1]
    program.close()
    return answer["return"]


def _both(version: str, argv: list[str], cwd: Path, command: str) -> tuple[Infos, Infos]:
    """The answers of qmpd, without what QEMU lacks, and of the real program."""
    theirs = _ask(real_argv(version, argv), cwd, command)
    beyond = profile.load(version).beyond
    ours = _ask(qmpd_argv_as(version, argv), cwd, command)
    return [info for info in ours if info["name"] not in beyond], theirs


@VERSIONS
def test_commands_are_listed_in_the_same_order(
    version: str, argv: list[str], tmp_path: Path
) -> None:
    ours, theirs = _both(version, argv, tmp_path, "query-commands")

    assert ours == [info for info in theirs if info in ours]


@VERSIONS
def test_the_schema_is_the_same(version: str, argv: list[str], tmp_path: Path) -> None:
    ours, theirs = _both(version, argv, tmp_path, "query-qmp-schema")
    assert differences(ours, theirs) == []

    served = {info["name"] for info in ours if info["meta-type"] == "command"}
    expected = _Restricted(theirs, served).infos()

    # what qmpd alone has may use types first, so that masks are counted anew here, too
    assert [*map(json.dumps, _Restricted(ours, served).infos())] == [*map(json.dumps, expected)]


def test_policies_hide_the_same_events(tmp_path: Path) -> None:
    """QEMU 10.0 has no deprecated event and no deprecated member of one: all are seen."""
    options = {"driver": "file", "filename": str(tmp_path / "image"), "size": 65536}
    requests: list[dict[str, Any]] = [
        {"execute": "qmp_capabilities"},
        {"execute": "blockdev-create", "arguments": {"job-id": "j", "options": options}},
        {"execute": "job-dismiss", "arguments": {"id": "j"}},
        {"execute": "stop"},
        {"execute": "cont"},
        {"execute": "system_reset"},
        {"execute": "quit"},
    ]
    seen = [
        _events([*argv, "-compat", HIDING], tmp_path, requests)
        for argv in (real_argv("10.0", SYSTEM), qmpd_argv(SYSTEM))
    ]

    assert seen[0] == seen[1]
    assert {"JOB_STATUS_CHANGE", "STOP", "RESUME", "RESET", "SHUTDOWN"} <= {e for e, _ in seen[0]}


_CONCLUDED = ("JOB_STATUS_CHANGE", {"status": "concluded", "id": "j"})


def _events(argv: list[str], cwd: Path, requests: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The events of a session, in which a job ends before the next request is sent."""
    program = StdioProgram(argv, cwd)
    program.message()
    messages: list[dict[str, Any]] = []
    for request in requests:
        messages += program.execute(request)
        if request["execute"] == "blockdev-create":
            while (messages[-1].get("event"), messages[-1].get("data")) != _CONCLUDED:
                messages.append(program.message())
    program.close()
    return [(message["event"], message.get("data")) for message in messages if "event" in message]


class _Restricted:
    """What is left of a query-qmp-schema value when only some commands are served."""

    def __init__(self, infos: Infos, commands: Collection[str]) -> None:
        self._types = {i["name"]: i for i in infos if i["meta-type"] not in ("command", "event")}
        self._entry_points = [
            info
            for info in infos
            if info["meta-type"] == "event"
            or (info["meta-type"] == "command" and info["name"] in commands)
        ]
        self._masks: dict[str, str] = {}
        self._used: dict[str, None] = {}

    def infos(self) -> Infos:
        listed = [self._with_masks(info) for info in self._entry_points]
        done = 0
        while done < len(self._used):
            for name in list(self._used)[done:]:
                info = self._with_masks(self._types[name])
                listed.append({**info, "name": self._use(name)})
                done += 1
        return listed

    def _use(self, name: str) -> str:
        self._used.setdefault(name)
        if name.startswith("["):
            return f"[{self._use(name[1:-1])}]"
        if self._types[name]["meta-type"] == "builtin":
            return name
        return self._masks.setdefault(name, str(len(self._masks)))

    def _with_masks(self, info: dict[str, Any]) -> dict[str, Any]:
        info = dict(info)
        for key in ("arg-type", "ret-type", "element-type"):
            if key in info:
                info[key] = self._use(info[key])
        for key in ("members", "variants"):
            if key in info and info["meta-type"] != "enum":
                info[key] = [{**part, "type": self._use(part["type"])} for part in info[key]]
        return info
