"""The programs as harnesses start them: probes, inherited sockets, daemons, the qtest clock."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.programs import QMPD_STORAGE_DAEMON, QMPD_SYSTEM

BARE = ["-machine", "none", "-nodefaults", "-display", "none"]


def _print(argv: list[str]) -> str:
    result = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_probes() -> None:
    machines = _print([*QMPD_SYSTEM, "-machine", "help"])
    assert sum(" (default)" in line for line in machines.splitlines()) == 1
    assert any(line.startswith("none ") for line in machines.splitlines())
    devices = _print(
        [*QMPD_SYSTEM, "-nodefaults", "-display", "none", "-M", "none", "-device", "help"]
    )
    assert 'name "virtio-blk-pci", bus PCI, alias "virtio-blk"' in devices
    formats = _print([*QMPD_SYSTEM, "-drive", "format=help"]).splitlines()
    assert formats[0].startswith("Supported formats:")
    assert "qcow2" in formats[0]
    assert _print([*QMPD_SYSTEM, "-version"]).startswith("QEMU emulator version 10.0.2")
    assert _print([*QMPD_STORAGE_DAEMON, "--version"]).startswith(
        "qemu-storage-daemon version 10.0.2"
    )
    for program in (QMPD_SYSTEM, QMPD_STORAGE_DAEMON):
        assert "usage" in _print([*program, "--help"]).lower()


@pytest.mark.parametrize("listening", [False, True])
def test_inherited_sockets(listening: bool, tmp_path: Path) -> None:
    if listening:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(tmp_path / "sock"))
        server.listen()
        theirs, extra = server, ["server=on", "wait=off"]
    else:
        ours, theirs = socket.socketpair()
        extra = []
    chardev = ",".join(["socket", "id=mon", f"fd={theirs.fileno()}", *extra])
    argv = [*QMPD_SYSTEM, *BARE, "-chardev", chardev, "-mon", "chardev=mon,mode=control"]
    with subprocess.Popen(argv, pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        if listening:
            ours = socket.socket(socket.AF_UNIX)
            ours.connect(str(tmp_path / "sock"))
        with ours, ours.makefile("rwb") as stream:
            assert "QMP" in json.loads(stream.readline())
            stream.write(b'{"execute": "qmp_capabilities"}{"execute": "quit"}')
            stream.flush()
            assert json.loads(stream.readline()) == {"return": {}}
            assert json.loads(stream.readline())["event"] == "SHUTDOWN"
        assert process.wait(10) == 0


def test_daemonize_returns_when_the_socket_listens(tmp_path: Path) -> None:
    path, pid_file = tmp_path / "qmp", tmp_path / "pid"
    _print(
        [
            *QMPD_SYSTEM,
            *("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=tcg"),
            *("-qmp", f"unix:{path},server=on,wait=off", "-pidfile", str(pid_file), "-daemonize"),
        ]
    )
    pid = int(pid_file.read_text())
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as stream:
        try:
            client.connect(str(path))
            assert "QMP" in json.loads(stream.readline())
        finally:
            os.kill(pid, signal.SIGTERM)
        assert stream.readline() == b""
    deadline = time.monotonic() + 10
    while path.exists() or pid_file.exists():
        assert time.monotonic() < deadline, "the daemon left its files behind"


def test_pretty_monitor_and_human_monitor_on_stdio() -> None:
    def run(*options: str, stdin: bytes) -> str:
        result = subprocess.run(
            [*QMPD_SYSTEM, *BARE, *options], input=stdin, capture_output=True, timeout=20
        )
        assert result.returncode == 0
        return result.stdout.decode()

    pretty = run(
        "-qmp-pretty", "stdio", stdin=b'{"execute": "qmp_capabilities"}{"execute": "quit"}'
    )
    assert '{\r\n    "return": {\r\n    }\r\n}\r\n' in pretty
    human = run("-monitor", "stdio", stdin=b"info status\nquit\n")
    assert human.startswith("QEMU 10.0.2 monitor - type 'help' for more information\r\n(qemu) ")
    assert "VM status: running\r\n" in human


def test_qtest_clock() -> None:
    ours, theirs = socket.socketpair()
    argv = [*QMPD_SYSTEM, *BARE, "-accel", "qtest", "-qmp", "stdio"]
    argv += ["-chardev", f"socket,id=qtest,fd={theirs.fileno()}", "-qtest", "chardev:qtest"]
    with subprocess.Popen(
        argv, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        theirs.close()
        with ours, ours.makefile("rwb") as stream:
            for line, answer in (
                (b"clock_step 1000\n", b"OK 1000\n"),
                (b"clock_set 5000\n", b"OK 5000\n"),
                (b"clock_step 7\n", b"OK 5007\n"),
            ):
                stream.write(line)
                stream.flush()
                assert stream.readline() == answer
        process.terminate()
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout is not None
        process.stdout.read()


def test_under_the_real_name(tmp_path: Path) -> None:
    link = tmp_path / "qemu-system-x86_64"
    link.symlink_to(Path(sys.executable).parent / "qmpd-system")
    result = subprocess.run([str(link), "-foo"], capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stderr) == (1, "qemu-system-x86_64: -foo: invalid option\n")
