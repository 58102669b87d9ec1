"""What the NBD server complains of on standard error, beside the real QEMU."""

from __future__ import annotations

import socket
import struct
import subprocess
from pathlib import Path

import pytest

from tests.support.nbd_servers import wait_for
from tests.support.programs import qemu_missing, qmpd_argv

OPTION = b"IHAVEOPT"
ENTER = struct.pack(">I", 3) + OPTION + struct.pack(">II", 1, 3) + b"exp"


def _request(command: int, offset: int, length: int, magic: int = 0x25609513) -> bytes:
    return struct.pack(">IHHQQI", magic, 0, command, 1, offset, length)


SESSIONS = {
    "unknown flags": struct.pack(">I", 0xFF),
    "bad magic": struct.pack(">I", 3) + b"x" * 8,
    "cut in an option": struct.pack(">I", 3) + OPTION[:4],
    "cut in a name": struct.pack(">I", 3) + OPTION + struct.pack(">II", 7, 10) + b"\0\0",
    "a long option": struct.pack(">I", 3) + OPTION + struct.pack(">II", 7, 1 << 26),
    "no such export": struct.pack(">I", 3) + OPTION + struct.pack(">II", 1, 1) + b"x",
    "not fixed newstyle": struct.pack(">I", 0) + OPTION + struct.pack(">II", 3, 0),
    "cut in a request": ENTER + _request(0, 0, 512)[:10],
    "cut in a write": ENTER + _request(1, 0, 512) + bytes(100),
    "another magic": ENTER + _request(0, 0, 512, magic=7),
    "goodbye": ENTER + _request(2, 0, 0),
    "nothing": b"",
}


def _complaints(folder: Path, argv: list[str]) -> list[str]:
    """What a server says of each session."""
    (folder / "image").write_bytes(bytes(1 << 20))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=folder, stderr=log)
    try:
        wait_for(folder / "ready", server)
        for data in SESSIONS.values():
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(folder / "s"))
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
    finally:
        server.terminate()
        server.wait(20)
    lines = (folder / "log").read_text().splitlines()
    return [line.removeprefix("qemu-storage-daemon: ") for line in lines]


def test_complaints(tmp_path: Path) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    argv = [
        *("qemu-storage-daemon", "--blockdev", "file,node-name=f,filename=image"),
        *("--nbd-server", "addr.type=unix,addr.path=s"),
        *("--export", "nbd,id=e,node-name=f,name=exp,writable=on", "--pidfile", "ready"),
    ]
    said = []
    for name, each in (("real", argv), ("ours", qmpd_argv(argv))):
        folder = tmp_path / name
        folder.mkdir()
        said.append(_complaints(folder, each))
    assert said[1] == said[0]
    assert len(said[0]) == len(SESSIONS) - 2
