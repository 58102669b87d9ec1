"""A disk that takes its time to make data stable holds up nobody but who waits for it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.exhaustion.beside import Client, Watch
from tests.support.programs import QMPD_STORAGE_DAEMON

SLOW = 0.5
"""Seconds that the first fdatasync(2) takes."""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_flush(image_format: str, tmp_path: Path) -> None:
    argv = ["strace", "-f", "-qq", "-o", "trace", "-e", "trace=fdatasync"]
    argv += ["-e", f"inject=fdatasync:delay_enter={int(SLOW * 1e6)}:when=1"]
    argv += [*QMPD_STORAGE_DAEMON, "--pidfile", "pid"]
    for name in ("hostile", "quiet"):
        argv += ["--chardev", f"socket,id={name},path={name},server=on,wait=off"]
        argv += ["--monitor", f"chardev={name}"]
    with (tmp_path / "image").open("wb") as image:
        image.truncate(8 << 20)
    daemon = subprocess.Popen(argv, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").exists():
            assert daemon.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        monitor = Client(tmp_path / "hostile")
        monitor.execute("blockdev-add", driver="file", node_name="f", filename="image")
        if image_format == "qcow2":
            options = {"driver": "qcow2", "file": "f", "size": 1 << 20}
            monitor.execute("blockdev-create", job_id="c", options=options)
            while monitor.execute("query-jobs")["return"][0]["status"] != "concluded":
                time.sleep(0.02)
        monitor.execute("blockdev-add", driver=image_format, node_name="n", file="f")
        address = {"type": "unix", "data": {"path": "nbd"}}
        assert "return" in monitor.execute("nbd-server-start", addr=address)
        export = {"type": "nbd", "id": "e", "node_name": "n", "name": "", "writable": True}
        assert "return" in monitor.execute("block-export-add", **export)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "nbd"))
            client.settimeout(30)
            client.recv(18, socket.MSG_WAITALL)
            client.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0))
            client.recv(10, socket.MSG_WAITALL)
            client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 1, 1, 0, 4096) + bytes(4096))
            client.recv(16, socket.MSG_WAITALL)
            with Watch(tmp_path / "quiet", int((tmp_path / "pid").read_text())) as watch:
                begin = time.monotonic()
                client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 3, 2, 0, 0))
                assert client.recv(16, socket.MSG_WAITALL)[4:8] == bytes(4)
                took = time.monotonic() - begin
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
