"""A disk that takes its time to make data stable holds up nobody but who waits for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.exhaustion.beside import Client, Daemon, Watch
from tests.exhaustion.cases import hmp
from tests.support.programs import QMPD_STORAGE_DAEMON
from tests.support.until import until

SLOW = 0.5
"""Seconds that the first fdatasync(2) takes."""


STRACE = ("strace", "-f", "-qq", "-o", "trace", "-e", "trace=fdatasync")
DELAY = ("-e", f"inject=fdatasync:delay_enter={int(SLOW * 1e6)}:when=1")


@contextmanager
def exported(monitor: Client, folder: Path, node: str) -> Iterator[socket.socket]:
    """A client of NBD that has written something to a node."""
    address = {"type": "unix", "data": {"path": "nbd"}}
    assert "return" in monitor.execute("nbd-server-start", addr=address)
    export = {"type": "nbd", "id": "e", "node_name": node, "name": "", "writable": True}
    assert "return" in monitor.execute("block-export-add", **export)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "nbd"))
        client.settimeout(30)
        client.recv(18, socket.MSG_WAITALL)
        client.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
        client.recv(10, socket.MSG_WAITALL)
        client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, 0, 4096) + bytes(4096))
        client.recv(16, socket.MSG_WAITALL)
        yield client


def nbd_flush(client: socket.socket) -> None:
    client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 3, 2, 0, 0))
    assert client.recv(16, socket.MSG_WAITALL)[4:8] == bytes(4)


def seconds(what: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.monotonic()
    what()
    return time.monotonic() - begin


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_flush(image_format: str, tmp_path: Path) -> None:
    argv = [*STRACE, *DELAY, *QMPD_STORAGE_DAEMON, "--pidfile", "pid"]
    for name in ("hostile", "quiet"):
        argv += ["--chardev", f"socket,id={name},path={name},server=on,wait=off"]
        argv += ["--monitor", f"chardev={name}"]
    with (tmp_path / "image").open("wb") as image:
        image.truncate(8 << 20)
    daemon = subprocess.Popen(argv, cwd=tmp_path)
    try:
        until(lambda: daemon.poll() is not None or (tmp_path / "pid").exists(), seconds=30)
        assert daemon.poll() is None
        monitor = Client(tmp_path / "hostile")
        monitor.execute("blockdev-add", driver="file", node_name="f", filename="image")
        if image_format == "qcow2":
            options = {"driver": "qcow2", "file": "f", "size": 1 << 20}
            monitor.execute("blockdev-create", job_id="c", options=options)
            until(lambda: monitor.execute("query-jobs")["return"][0]["status"] == "concluded")
        monitor.execute("blockdev-add", driver=image_format, node_name="n", file="f")
        with (
            exported(monitor, tmp_path, "n") as client,
            Watch(tmp_path / "quiet", int((tmp_path / "pid").read_text())) as watch,
        ):
            took = seconds(lambda: nbd_flush(client))
        if image_format == "raw":
            assert took > SLOW
        assert watch.own < SLOW / 2
        monitor.execute("quit")
        assert daemon.wait(30) == 0
    finally:
        # not strace, which would leave it behind
        with suppress(OSError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        daemon.wait()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("more", [(), ("--seed", "1")], ids=["plain", "on the bench"])
@pytest.mark.parametrize("human", [True, False], ids=["qemu-io", "nbd"])
def test_a_flush_of_serve(human: bool, more: tuple[str, ...], tmp_path: Path) -> None:
    program = (*STRACE, *DELAY)
    with (tmp_path / "image").open("wb") as image:
        image.truncate(8 << 20)
    options = ("--storage", "host", "--image", "image", "--pidfile", "pid", *more)
    daemon = Daemon(tmp_path, *options, program=program)
    pid = int((tmp_path / "pid").read_text())
    try:
        monitor = daemon.client()
        if human:
            write, flush = (hmp(f'qemu-io disk0 "{what}"') for what in ("write 0 64k", "flush"))
            monitor.ask(write)
            with Watch(tmp_path / "quiet", pid) as watch:
                took = seconds(lambda: monitor.ask(flush))
        else:
            with (
                exported(monitor, tmp_path, "disk0") as client,
                Watch(tmp_path / "quiet", pid) as watch,
            ):
                took = seconds(lambda: nbd_flush(client))
        assert took > SLOW
        assert watch.own < SLOW / 2
        monitor.execute("quit")
        assert daemon.process.wait(30) == 0
    finally:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        daemon.process.wait()
