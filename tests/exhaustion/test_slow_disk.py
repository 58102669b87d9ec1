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
"""Seconds that fdatasync(2) takes."""


STRACE = ("strace", "-f", "-qq", "-o", "trace", "-e", "trace=fdatasync")
ALWAYS = ("-e", f"inject=fdatasync:delay_enter={int(SLOW * 1e6)}")
DELAY = (ALWAYS[0], f"{ALWAYS[1]}:when=1")


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


def nbd_write(client: socket.socket, offset: int) -> None:
    """A write that is to be stable when it is answered (NBD_CMD_FLAG_FUA)."""
    client.sendall(struct.pack(">IHHQQI", 0x25609513, 1, 1, 3, offset, 4096) + b"x" * 4096)
    assert client.recv(16, socket.MSG_WAITALL)[4:8] == bytes(4)


def add_image(monitor: Client, folder: Path, image_format: str) -> None:
    """Have a node "n" of an image on the slow disk."""
    with (folder / "image").open("wb") as image:
        image.truncate(8 << 20)
    monitor.execute("blockdev-add", driver="file", node_name="f", filename="image")
    if image_format == "qcow2":
        options = {"driver": "qcow2", "file": "f", "size": 1 << 20}
        monitor.execute("blockdev-create", job_id="c", options=options)
        until(lambda: monitor.execute("query-jobs")["return"][0]["status"] == "concluded")
    answer = monitor.execute("blockdev-add", driver=image_format, node_name="n", file="f")
    assert "return" in answer, answer


def seconds(what: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.monotonic()
    what()
    return time.monotonic() - begin


@contextmanager
def storage_daemon(
    folder: Path, *traced: str, delay: tuple[str, ...] = DELAY
) -> Iterator[tuple[Client, int]]:
    """One on a slow disk, with monitor `quiet` besides: a client of its other monitor, its pid.

    :param traced: system calls that are traced besides
    :param delay: which syncs are slow; the first
    """
    argv = [*STRACE, *delay, "-e", ",".join(("trace=fdatasync", *traced)), *QMPD_STORAGE_DAEMON]
    argv += ["--pidfile", "pid"]
    for name in ("hostile", "quiet"):
        argv += ["--chardev", f"socket,id={name},path={name},server=on,wait=off"]
        argv += ["--monitor", f"chardev={name}"]
    daemon = subprocess.Popen(argv, cwd=folder)
    try:
        until(lambda: daemon.poll() is not None or (folder / "pid").exists(), seconds=30)
        assert daemon.poll() is None
        monitor = Client(folder / "hostile")
        yield monitor, int((folder / "pid").read_text())
        monitor.execute("quit")
        assert daemon.wait(30) == 0
    finally:
        # not strace, which would leave it behind
        with suppress(OSError):
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        daemon.wait()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_flush(image_format: str, tmp_path: Path) -> None:
    with storage_daemon(tmp_path) as (monitor, pid):
        add_image(monitor, tmp_path, image_format)
        with exported(monitor, tmp_path, "n") as client, Watch(tmp_path / "quiet", pid) as watch:
            took = seconds(lambda: nbd_flush(client))
        if image_format == "raw":
            assert took > SLOW
        assert watch.own < SLOW / 2


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_what_is_to_be_stable_when_it_is_written(image_format: str, tmp_path: Path) -> None:
    """The write's own sync, and those by which a format orders what it writes."""
    with storage_daemon(tmp_path, delay=ALWAYS) as (monitor, pid):
        add_image(monitor, tmp_path, image_format)
        with exported(monitor, tmp_path, "n") as client:
            before = (tmp_path / "trace").read_text()
            took = seconds(lambda: nbd_write(client, 1 << 19))
            lines = (tmp_path / "trace").read_text().removeprefix(before).splitlines()
        assert took > SLOW
        assert lines
        assert not [line for line in lines if line.startswith(f"{pid} ")], "in the main loop"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("no_flush", [False, True])
def test_a_mirror(no_flush: bool, tmp_path: Path) -> None:
    """Its flush is begun while it copies, where there is going to be one."""
    data = os.urandom(4 << 20)
    (tmp_path / "source").write_bytes(data)
    (tmp_path / "target").write_bytes(bytes(len(data)))
    with storage_daemon(tmp_path, "sync_file_range") as (monitor, pid):
        for name in ("source", "target"):
            node = {"driver": "file", "node_name": name, "filename": name}
            monitor.execute("blockdev-add", cache={"no-flush": no_flush}, **node)
        with Watch(tmp_path / "quiet", pid) as watch:
            options = {"device": "source", "target": "target", "sync": "full"}
            assert "return" in monitor.execute("blockdev-mirror", job_id="j", **options)
            until(lambda: monitor.execute("query-jobs")["return"][0]["status"] == "ready")
        assert watch.own < SLOW / 2
        assert (tmp_path / "target").read_bytes() == data
        begun = (tmp_path / "trace").read_text().count("sync_file_range(")
        assert (begun == 0) is no_flush


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
