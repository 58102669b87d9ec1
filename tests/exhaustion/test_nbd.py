"""Clients of NBD that begin options and do not end them."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import pytest

from qmpd.server.ahead import QUIET
from tests.exhaustion.beside import Daemon, serving

CLIENTS = 64
LENGTH = 32 << 20
"""Bytes that each option says it has; a sixteenth of it is sent."""
MOST = 20 << 20
"""Bytes that all of it may cost."""
LOOKS = 5
"""Times that memory is the same when it is settled."""

NAME = struct.pack(">I", 1) + b"x"
OPTIONS = {
    "one that is unknown": (99, b""),
    "a name that is too long": (7, struct.pack(">I", LENGTH)),
    "many queries": (10, NAME + struct.pack(">I", 1 << 20)),
    "many names to list": (9, NAME + struct.pack(">I", 1 << 20)),
    "an unexpected length": (3, b""),
}
SHORT = ("one that is unknown", "many queries")
"""Which come in the short run: one that is read to be forgotten, and one that is read in parts."""


def connect(daemon: Daemon) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(daemon.folder / "nbd"))
    client.recv(18, socket.MSG_WAITALL)
    client.sendall(struct.pack(">I", 1))
    return client


def settled(daemon: Daemon) -> int:
    """Bytes of memory once nothing is loaded ahead any more (`qmpd.server.ahead`)."""
    seen = [daemon.memory]
    deadline = time.monotonic() + 60
    # Nothing tells of that, which begins only when nobody has asked for anything for `QUIET`: it
    # is looked for twice as long, from outside.
    while len(seen) < LOOKS or len(set(seen[-LOOKS:])) > 1:
        assert time.monotonic() < deadline
        time.sleep(2 * QUIET / LOOKS)
        seen.append(daemon.memory)
    return seen[-1]


@pytest.mark.parametrize(
    "option",
    [pytest.param(option, marks=() if option in SHORT else pytest.mark.long) for option in OPTIONS],
)
def test_options_are_not_kept(option: str, tmp_path: Path) -> None:
    number, data = OPTIONS[option]
    rest = data + bytes(LENGTH // 16)
    with serving(tmp_path, "--disk", "disk0=1M") as daemon:
        monitor = daemon.client()
        address = {"type": "unix", "data": {"path": "nbd"}}
        monitor.execute("nbd-server-start", addr=address, max_connections=0)
        monitor.execute("block-export-add", type="nbd", id="e", node_name="disk0", name="x")
        connect(daemon).close()
        clients = [connect(daemon) for _ in range(CLIENTS)]
        before = settled(daemon)
        for client in clients:
            with suppress(BrokenPipeError, ConnectionResetError):
                # some are cut off
                client.sendall(b"IHAVEOPT" + struct.pack(">II", number, LENGTH))
                client.sendall(rest)
        assert settled(daemon) - before < MOST
        for client in clients:
            client.close()
        assert monitor.execute("query-status")["return"]["running"]
        assert daemon.memory - before < MOST
        monitor.close()
