"""The control monitor of daemons, and `qmpd ctl`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmpd.errors import GenericError
from qmpd.testing import RemoteMachine, Server
from tests.support.programs import QMPD_STORAGE_DAEMON, QMPD_SYSTEM
from tests.support.stdio import StdioProgram


def ctl(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `qmpd ctl`."""
    argv = [sys.executable, "-m", "qmpd.cli.main", "ctl", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[str]:
    """The path of the control monitor of a daemon whose clock is held."""
    path = str(tmp_path / "control")
    with Server("--control", f"unix:{path}", "--disk", "disk0=1M", "--clock", "held"):
        yield path


def test_values_by_the_types_of_the_schema(control: str) -> None:
    done = ctl(control, "x-sim-disk-write", "disk=disk0", "offset=1k", "pattern=0x41", "length=3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}\n", "")
    done = ctl(control, "x-sim-disk-read", '{"disk": "disk0", "offset": 1023, "length": 3}')
    assert json.loads(done.stdout) == {"data": "AEFB"}
    done = ctl("--pretty", control, "x-sim-clock-advance", "seconds=1e-3")
    assert json.loads(done.stdout)["now"] == 1_000_000
    assert len(done.stdout.splitlines()) > 1


def test_commands_are_listed(control: str) -> None:
    names = ctl(control).stdout.splitlines()
    assert names == sorted(names)
    assert "x-sim-clock-advance" in names


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["x-sim-disk-flush", "disk=no,pe"], "there is no disk 'no,pe'"),
        (["x-sim-disk-read", "disk=d", "offset=x", "length=1"], "Parameter 'offset' expects size"),
        (["x-sim-disk-read", "disk=d"], "Parameter 'offset' is missing"),
        (["x-sim-disk-flush", "disk"], "Expected '=' after parameter 'disk'"),
        (["x-sim-disk-flush", "{disk"], "the arguments are no JSON object"),
        (["x-sim-nothing", "a=1"], "The command x-sim-nothing has not been found"),
        (["query-block"], "The command query-block has not been found"),
    ],
)
def test_what_fails_says_so(control: str, words: list[str], text: str) -> None:
    done = ctl(control, *words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("qmpd ctl: ")
    assert text in done.stderr


def test_nobody_there(tmp_path: Path) -> None:
    done = ctl(str(tmp_path / "nope"), "x-sim-query-clock")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No such file or directory" in done.stderr


def test_an_ordinary_monitor_can_be_asked_too() -> None:
    with Server("--disk", "disk0=1M") as server:
        arguments = ["node=disk0", "name=b,0", "persistent=off", "granularity=65536"]
        assert ctl(server.path, "block-dirty-bitmap-add", *arguments).returncode == 0
        disk = json.loads(ctl(server.path, "query-block").stdout)[0]
        assert disk["inserted"]["dirty-bitmaps"][0]["name"] == "b,0"


def test_a_virtual_clock_jumps(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    options = ("--control", f"unix:{path}", "--disk", "a=64M", "--disk", "b=64M")
    with (
        Server(*options, "--clock", "virtual") as server,
        RemoteMachine(server.path) as vm,
        RemoteMachine(path) as control,
    ):
        control.cmd("x-sim-disk-write", disk="a", offset=0, pattern=1, length=1 << 20)
        slow = {"job-id": "j", "device": "a", "target": "b", "sync": "full", "speed": 65536}
        vm.cmd("blockdev-backup", slow)
        assert vm.job("j").wait() == "null"
        # a MiB at 64 KiB/s; the rest is not stored
        assert control.cmd("x-sim-query-clock")["now"] > 15 * 1_000_000_000


def test_a_real_clock_takes_its_time(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with Server("--control", f"unix:{path}"), RemoteMachine(path) as control:
        before = control.cmd("x-sim-query-clock")
        after = control.cmd("x-sim-clock-advance", seconds=0.05)
        assert before["mode"] == "real"
        assert after["now"] - before["now"] >= 50_000_000
        assert control.cmd("x-sim-clock-until-idle")["mode"] == "real"


PROGRAMS = [
    [*QMPD_SYSTEM, "-display", "none", "-machine", "none", "-qmp", "stdio"],
    [*QMPD_STORAGE_DAEMON, "--chardev", "stdio,id=c", "--monitor", "chardev=c"],
]


@pytest.mark.parametrize("argv", PROGRAMS)
def test_programs_with_options_of_qemu(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control"
    monkeypatch.setenv("QMPD_CONTROL", f"unix:{path}")
    program = StdioProgram(argv, tmp_path)
    assert b'"QMP"' in program.line()
    with RemoteMachine(str(path)) as control:
        assert control.cmd("x-sim-query-disks") == []
        program.send(b'{"execute": "qmp_capabilities"}{"execute": "query-commands"}')
        assert program.line() == b'{"return": {}}\r\n'
        assert b"x-sim-" not in program.line()
        program.send(b'{"execute": "blockdev-add", "arguments": ')
        program.send(b'{"driver": "null-co", "node-name": "n", "size": 4096}}')
        assert program.line() == b'{"return": {}}\r\n'
        assert control.cmd("x-sim-query-disks") == [{"name": "n", "size": 4096}]
        with pytest.raises(GenericError, match="a clock of real time"):
            control.cmd("x-sim-clock-until-idle")
        program.send(b'{"execute": "quit"}')
        assert program.process.wait(20) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("where", "text"),
    [("tcp:1:2", "'tcp:1:2' is not unix:PATH"), ("unix:/nope/x", "No such file or directory")],
)
def test_where_nobody_can_listen(where: str, text: str) -> None:
    argv = [sys.executable, "-m", "qmpd.cli.main", "serve", "--qmp", "stdio", "--control", where]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("qmpd: --control")
    assert text in done.stderr
