"""What one client asks for does not make the others wait.

A quiet monitor beside it asks all the time; ``python -m tests.exhaustion`` prints how long it waits
for the whole of each case, here a tenth of those that take long has to do.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import qmpd
from tests.exhaustion.beside import Client, Watch, serving
from tests.exhaustion.cases import PARSED, SHORT, WORKED_ON

MOST = 0.1
"""The longest wait of a quiet monitor, seconds."""

PART = 0.1


@pytest.mark.parametrize("case", PARSED)
def test_reading(case: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--disk", "disk0=1M", "--as", "system") as daemon:
        hostile = daemon.client()
        # what has to be imported is there
        hostile.execute("human-monitor-command", command_line="info status")
        with daemon.watch() as watch:
            assert PARSED[case](hostile, PART).startswith(b"{")
        assert watch.own < MOST, watch.worst
        hostile.close()


@pytest.mark.parametrize("case", WORKED_ON)
def test_working(case: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--disk", "disk0=1G", "--storage", "host") as daemon:
        hostile = daemon.client()
        request = WORKED_ON[case](hostile, 1.0 if case in SHORT else PART)
        with daemon.watch() as watch:
            assert hostile.ask(request).startswith(b"{")
        assert watch.own < MOST, watch.worst
        hostile.close()


def test_a_machine_that_its_program_serves(tmp_path: Path) -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm, vm.serve(control=tmp_path / "quiet") as path:
        hostile = Client(Path(path))
        hostile.execute("human-monitor-command", command_line="info status")
        with Watch(tmp_path / "quiet", os.getpid()) as watch:
            assert PARSED["numbers"](hostile, PART).startswith(b'{"return"')
        assert watch.own < MOST, watch.worst
        hostile.close()


def test_a_request_that_is_being_read_when_serving_ends() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        with vm.serve() as path:
            hostile = Client(Path(path))
            hostile.send(b'{"execute": "query-status", "id": [' + b"1," * 500_000 + b"1]}")
            line = "chardev-add " + "=," * 50_000
            assert vm.cmd("human-monitor-command", command_line=line)
        hostile.close()
        assert vm.cmd("human-monitor-command", command_line=line)
        assert vm.cmd("query-status")["running"]
