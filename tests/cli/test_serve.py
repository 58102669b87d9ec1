"""`qmpd serve`: what people type, and what they are told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.cli import main, serve

QMPD = [sys.executable, "-I", "-m", "qmpd.cli.main"]


def ask(path: Path, *commands: str) -> list[Any]:
    """Negotiate, run `commands` without arguments, return their values."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        stream = client.makefile("rwb")
        stream.readline()
        values = []
        for command in ("qmp_capabilities", *commands):
            stream.write(json.dumps({"execute": command}).encode())
            stream.flush()
            message = json.loads(stream.readline())
            while "event" in message:
                message = json.loads(stream.readline())
            values.append(message["return"])
        return values[1:]


def start(*arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*QMPD, "serve", *arguments, "--ready-fd", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.stderr
    return process


def test_disks_journal_log_and_pid_file(tmp_path: Path) -> None:
    qmp, journal, pid = tmp_path / "qmp", tmp_path / "journal", tmp_path / "pid"
    process = start(
        *("--qmp", f"unix:{qmp}", "--disk", "a=64M", "--disk", "b=1G", "--name", "vm", "-v"),
        *("--image", "/no/such/dir/c.raw,name=c,size=1M", "--log-qmp", str(journal)),
        *("--pidfile", str(pid), "--paused"),
    )
    assert pid.read_text() == f"{process.pid}\n"
    blocks, name, status, _ = ask(qmp, "query-block", "query-name", "query-status", "quit")
    sizes = {entry["device"]: entry["inserted"]["image"]["virtual-size"] for entry in blocks}
    assert sizes == {"a": 64 << 20, "b": 1 << 30, "c": 1 << 20}
    assert name == {"name": "vm"}
    assert status["status"] == "prelaunch"
    _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert not qmp.exists()
    assert not pid.exists()
    assert 'level=info logger=qmpd.server monitor=monitor0 msg="client connected"' in log
    assert journal.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {line["direction"] for line in lines} == {"in", "out"}
    assert lines[0]["message"]["QMP"]
    assert lines[1]["message"] == {"execute": "qmp_capabilities"}
    assert {line["monitor"] for line in lines} == {"monitor0"}


def test_storage_daemon_mode_and_service_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        process = subprocess.Popen(
            [*QMPD, "serve", "--qmp", f"unix:{tmp_path / 'qmp'}", "--as", "storage-daemon"],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        assert manager.recv(100) == b"READY=1"
        (commands,) = ask(tmp_path / "qmp", "query-commands")
        assert {"name": "stop"} not in commands
        process.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert process.wait(10) == 0


@pytest.fixture
def in_process(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    handler = signal.getsignal(signal.SIGINT)

    def run(*arguments: str) -> tuple[int, str]:
        status = serve.main(arguments)
        return status, capsys.readouterr().err

    yield run
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--disk", "x"], "--disk: 'x' is not NAME=SIZE (for example disk0=64M)"),
        (["--disk", "x=1q"], "--disk: '1q' is no size"),
        (["--disk", "x=100"], "--disk: size 100 is no multiple of 512 bytes"),
        (["--disk", "0=1M"], "--disk: '0' is no name for a disk"),
        (
            ["--disk", "x=1M", "--disk", "x=1M"],
            "--disk x: node-name=x is conflicting with a device id",
        ),
        (["--image", "/no/a.raw"], "--image disk0: Could not open '/no/a.raw'"),
        (["--image", "a,foo=1"], "--image a,foo=1: there is no key 'foo'"),
        (["--qmp", "here"], "--qmp here: where is that?"),
        (["--qmp", "unix:/no/such/x"], "--qmp unix:/no/such/x: Failed to bind socket"),
        (["--qmp", "unix:x,mode=9"], "--qmp unix:x,mode=9: '9' is no octal mode"),
        (["--uuid", "1"], "--uuid: '1' is no UUID"),
        (["--log-qmp", "/no/such/log"], "Could not open '/no/such/log'"),
        (["--pidfile", "/no/such/pid"], "cannot create PID file: Could not create '/no/such/pid'"),
    ],
)
def test_complaints(in_process: Any, tmp_path: Path, arguments: list[str], says: str) -> None:
    qmp = [] if "--qmp" in arguments else ["--qmp", f"unix:{tmp_path / 'qmp'}"]
    status, said = in_process(*qmp, *arguments, "--storage", "host")
    assert status == 1
    assert said.startswith(f"qmpd: {says}")
    assert not (tmp_path / "qmp").exists()


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    assert "serve" in capsys.readouterr().out
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("qmpd ")
    assert main.main(["nonsense"]) == 2
    assert main.main([]) == 2
    with pytest.raises(SystemExit):
        main.main(["serve", "--help"])
    text = capsys.readouterr().out
    assert "query-block shows it" in text
    assert "--disk NAME=SIZE" in text
