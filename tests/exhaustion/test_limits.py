"""Descriptors and memory used up, signals, output that nobody reads."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exhaustion.beside import Client, Daemon
from tests.server.test_broken_streams import PROGRAMS, _connect
from tests.support.programs import qemu_missing
from tests.support.until import until

FEW = 40
"""Descriptors that a daemon may have."""


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, "--disk", "disk0=1M", "--storage", "host", "-v")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
    yield daemon
    if daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.wait()


def use_up(client: Client, folder: Path) -> int:
    """Add nodes of files until there are no descriptors; returns how many."""
    for number in range(FEW):
        (folder / f"image{number}").write_bytes(bytes(512))
        options = {"driver": "file", "node_name": f"f{number}", "filename": f"image{number}"}
        answer = client.execute("blockdev-add", **options)
        if "error" in answer:
            assert answer["error"]["desc"].endswith("Too many open files"), answer
            return number
    raise AssertionError("there is no limit")


def processor_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def test_descriptors_used_up(few: Daemon) -> None:
    client = few.client()
    client.execute("query-status")
    count = use_up(client, few.folder)
    # what needs a descriptor fails in words, whatever has not been imported yet
    for command, arguments in (
        ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd"}}}),
        ("chardev-add", {"id": "c", "backend": {"type": "pty", "data": {}}}),
        (
            "blockdev-create",
            {"job_id": "j", "options": {"driver": "file", "filename": "x", "size": 1}},
        ),
        ("block-stream", {"device": "disk0"}),
    ):
        answer = client.execute(command, **arguments)
        assert "internal error" not in str(answer), answer
    # nobody is let in, and nothing is done in vain meanwhile
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(few.folder / "quiet"))
    until(lambda: b"nobody can be let in" in few.errors.read_bytes())
    before = processor_seconds(few.pid)
    # nothing happens, which nobody tells: it is measured over two rests and more
    time.sleep(1.2)
    assert processor_seconds(few.pid) - before < 0.3
    answer = client.execute("query-status")
    assert "return" in answer, answer
    for number in range(count):
        client.execute("blockdev-del", node_name=f"f{number}")
    waiting.settimeout(20)
    assert waiting.recv(5) == b'{"QMP'
    waiting.close()
    client.close()
    said = few.end()
    assert "Traceback" not in said, said


def hears_signals(pid: int) -> bool:
    """Whether a program has come so far that it waits for signals."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        blocked = next(int(line.split()[1], 16) for line in file if line.startswith("SigBlk"))
    return bool(blocked & 1 << signal.SIGTERM - 1)


def test_the_soft_limit_of_descriptors_is_raised(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    daemon = Daemon(tmp_path, program=("sh", "-c", 'ulimit -Sn 64; exec "$0" "$@"'))
    assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    daemon.end()


def test_memory_used_up(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--disk", "disk0=4G")
    client = daemon.client()
    client.execute("human-monitor-command", command_line='qemu-io disk0 "write -P 1 0 64k"')
    most = 700 << 20
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most, most))
    answer = client.execute(
        "human-monitor-command", command_line='qemu-io disk0 "write -P 1 0 900M"'
    )
    assert "memory" in str(answer).lower(), answer
    # an answer that cannot be built
    client.send(b'{"execute": "query-status", "id": "' + b"\\u00e9" * (1 << 16) + b'"}')
    line = client.line()
    assert line.startswith(b'{"error"') or line.endswith(b'"}')
    answer = client.execute("query-status")
    assert answer["return"]["running"]
    client.close()
    other = daemon.client("quiet")
    assert other.execute("query-status")["return"]["running"]
    other.close()
    assert "Traceback" not in daemon.end()


def test_memory_is_given_back(tmp_path: Path) -> None:
    """Also what the C library would keep for later, because it had to find a large piece once."""
    daemon = Daemon(tmp_path)
    client = daemon.client()
    client.execute("query-status")
    before = daemon.memory
    client.ask(b'{"execute": "query-status", "id": "' + b"x" * (30 << 20) + b'"}')
    many = b",".join(b'"%s"' % (b"x" * 1000) for _ in range(50_000))
    client.ask(b'{"execute": "query-status", "id": [' + many + b"]}")
    until(lambda: daemon.memory < before + (80 << 20), seconds=20)
    client.close()
    daemon.end()


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGPIPE, signal.SIGALRM, signal.SIGIO])
def test_signals_that_are_ignored(program: str, number: int, tmp_path: Path) -> None:
    if program.startswith("qemu") and (reason := qemu_missing()) is not None:
        pytest.skip(reason)
    process = subprocess.Popen(PROGRAMS[program], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        with _connect(process, tmp_path / "s") as client:
            stream = client.makefile("rwb")
            stream.readline()
            for _ in range(3):
                process.send_signal(number)
            stream.write(b'{"execute": "qmp_capabilities"}')
            stream.flush()
            answer = json.loads(stream.readline())
            if "QMP" in answer:
                answer = json.loads(stream.readline())
            assert answer == {"return": {}}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("program", [name for name in PROGRAMS if not name.startswith("qemu")])
def test_output_that_nobody_reads_does_not_keep_it(
    program: str, stream: str, tmp_path: Path
) -> None:
    """QEMU waits for a reader for ever."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    streams: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        stream: writer,
    }
    process = subprocess.Popen(PROGRAMS[program], cwd=tmp_path, **streams)
    try:
        client = _connect(process, tmp_path / "s")
        until(lambda: hears_signals(process.pid))
        client.sendall(b'{"execute": "qmp_capabilities"}')
        null = {"driver": "null-co", "size": 65536}
        for name in ("a", "b"):
            add = {"execute": "blockdev-add", "arguments": {**null, "node-name": name}}
            client.sendall(json.dumps(add).encode())
        # a warning on standard error; qemu-io prints on standard output
        backup = {"job-id": "j", "device": "a", "target": "b", "sync": "full"}
        client.sendall(json.dumps({"execute": "blockdev-backup", "arguments": backup}).encode())
        line = {"command-line": 'qemu-io a "read 0 512"'}
        request = {"execute": "human-monitor-command", "arguments": line}
        client.sendall(json.dumps(request).encode())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        client.close()
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


def test_the_number_of_what_has_none_left() -> None:
    from qmpd.monitor.dispatcher import visible

    assert visible(OSError(errno.EMFILE, "x")).desc == "Too many open files"
