"""What qmpd found: each reproduction, on qmpd and on the real QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qmpd.testing import RemoteMachine, Server
from tests.examples.servers import missing, running
from tests.support.npm import install_qemu_qmp
from tests.support.programs import QMPD_SYSTEM

FOUND = Path(__file__).parents[2] / "examples" / "found"
TOOL = FOUND.parent / "tool" / "vmbackup.py"


def _run(example: str, *arguments: str) -> list[str]:
    argv = [sys.executable, str(FOUND / example), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=["qmpd-drive", "qemu-drive"])
def monitor(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    if (reason := missing(request.param)) is not None:
        pytest.skip(reason)
    with running(request.param, tmp_path) as path:
        yield str(path)


def test_requests_that_end_qemu() -> None:
    if (reason := missing("qemu-system")) is not None:
        pytest.skip(reason)
    assert _run("requests_that_end_qemu.py", "qemu-system-x86_64") == [
        "merge no bitmaps: dies: SIGSEGV",
        "enable no bitmap: dies: SIGSEGV",
        "reopen nothing: dies: SIGABRT",
        "a size below zero: dies: SIGABRT",
        "two backups of a drive: dies: SIGABRT",
    ]


def test_requests_that_do_not_end_qmpd(tmp_path: Path) -> None:
    program = tmp_path / "qmpd-system"
    program.write_text(f'#!/bin/sh\nexec {" ".join(QMPD_SYSTEM)} "$@"\n', "utf-8")
    program.chmod(0o755)
    lines = _run("requests_that_end_qemu.py", str(program))
    assert len(lines) == 5
    assert not any("dies" in line for line in lines)


def test_mistakes_of_qemu_qmp(monitor: str) -> None:
    assert _run("qemu_qmp.py", monitor) == [
        "late answer: query-status gets {'return': ''}",
        "whole seconds: wait=0.2: time is up, wait=1: still waiting after 3 s",
        "lost connection: still waiting 2 s later; the connection is DISCONNECTING",
    ]


def test_printed_requests(monitor: str) -> None:
    assert _run("printed_requests.py", monitor) == [
        "creation: JSON parse error, expecting value",
        "removal of the target: JSON parse error, expecting value",
        "backup of several drives: Parameter 'type' does not accept value 'blockev-backup'",
    ]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the packages of npm are."""
    folder = tmp_path_factory.mktemp("npm")
    if (reason := install_qemu_qmp(folder)) is not None:
        pytest.skip(reason)
    return folder / "node_modules"


def test_shifted_answers(monitor: str, packages: Path) -> None:
    argv = ["node", "--no-deprecation", str(FOUND / "shifted_answers.js"), monitor]
    environment = {**os.environ, "NODE_PATH": str(packages)}
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=240, cwd=FOUND, env=environment
    )
    assert done.stdout.splitlines() == [
        'human-monitor-command: {"status":"prelaunch","running":false}',
        "query-status: {}",
        "query-name: it has come",
    ]


def test_a_tool_that_knows_its_own_job(tmp_path: Path) -> None:
    with Server("--disk", "disk0=2M", "--qmp", f"unix:{tmp_path}/second.sock") as server:
        with RemoteMachine(server.path) as vm:
            vm.hmp('qemu-io disk0 "write -P 1 0 2M"')
        slowly = [server.path, str(tmp_path), "--disk", "disk0", "--speed", str(1 << 20)]
        tool = [sys.executable, str(TOOL), "full", *slowly]
        assert _run("another_job.py", f"{tmp_path}/second.sock", *tool) == ["exit status 0"]
        with RemoteMachine(server.path) as vm:
            file = {"driver": "file", "filename": f"{tmp_path}/disk0-0.qcow2"}
            vm.cmd("blockdev-add", driver="qcow2", node_name="backup", file=file)
            assert vm.hmp('qemu-io backup "read -q -P 1 0 2M"') == ""
