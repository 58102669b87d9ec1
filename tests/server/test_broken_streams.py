"""Standard output and standard error that are closed, or that nobody reads any more.

Every request is answered all the same, and a signal ends the program, as it does QEMU.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import qemu_missing, qmpd_argv

SYSTEM = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
SYSTEM += ["-qmp", "unix:s,server=on,wait=off"]
STORAGE_DAEMON = ["qemu-storage-daemon", "--chardev", "socket,id=c,path=s,server=on,wait=off"]
STORAGE_DAEMON += ["--monitor", "c"]
SERVE = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve", "-v", "--qmp", "unix:s"]
PROGRAMS = {
    "qmpd-system": qmpd_argv(SYSTEM),
    "qmpd-storage-daemon": qmpd_argv(STORAGE_DAEMON),
    "qmpd serve": SERVE,
    "qemu-system": SYSTEM,
    "qemu-storage-daemon": STORAGE_DAEMON,
}
STREAMS = {
    "stderr closed": "2>&-",
    "stdout closed": "1>&-",
    "all closed": "0<&- 1>&- 2>&-",
    "nobody reads stderr": "",
    "nobody reads stdout": "",
}
"""Redirections of the shell, where there are any."""

NULL = {"driver": "null-co", "size": 65536}
BACKUP = {"job-id": "j", "device": "a", "target": "b", "sync": "full"}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("qmp_capabilities", {}),
    ("blockdev-add", {**NULL, "node-name": "a"}),
    ("blockdev-add", {**NULL, "node-name": "b"}),
    # a warning goes to standard error, what qemu-io says to both
    ("blockdev-backup", BACKUP),
    ("human-monitor-command", {"command-line": 'qemu-io a "read 0 512"'}),
    ("human-monitor-command", {"command-line": "qemu-io a nosuch"}),
]


@contextmanager
def _running(argv: list[str], streams: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    reader, writer = os.pipe()
    unread = {name: writer for name in ("stdout", "stderr") if streams == f"nobody reads {name}"}
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {STREAMS[streams]}', "sh", *argv],
        cwd=folder,
        stdout=unread.get("stdout"),
        stderr=unread.get("stderr"),
    )
    os.close(reader)
    os.close(writer)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _connect(process: subprocess.Popen[bytes], path: Path) -> socket.socket:
    """Connect once the program listens."""
    deadline = time.monotonic() + 20
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        try:
            client.connect(str(path))
            return client
        except OSError:
            client.close()
            assert process.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_requests_are_answered_and_a_signal_ends_it(
    program: str, streams: str, tmp_path: Path
) -> None:
    if program.startswith("qemu") and (reason := qemu_missing()) is not None:
        pytest.skip(reason)
    with _running(PROGRAMS[program], streams, tmp_path) as process:
        with _connect(process, tmp_path / "s") as client:
            stream = client.makefile("rwb")
            stream.readline()
            for command, arguments in REQUESTS:
                if command.startswith("human") and "storage" in program:
                    continue
                request = {"execute": command, "arguments": arguments}
                stream.write(json.dumps(request).encode())
                stream.flush()
                answer: dict[str, object] = {"QMP": {}}
                # QEMU may greet a client twice that comes while it starts
                while "event" in answer or "QMP" in answer:
                    answer = json.loads(stream.readline())
                assert "return" in answer, answer
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
