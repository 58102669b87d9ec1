"""Clients that break off in the middle of what they say: all is read, and others are served."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qmpd.server.chardev.udp import UdpChardev
from qmpd.server.server import new_event_loop
from tests.exhaustion.beside import Daemon, serving
from tests.export import vhost_client as vhost
from tests.export.vhost_client import VhostClient
from tests.support.until import until


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path, "--disk", "disk0=1M") as made:
        yield made


@contextmanager
def breaks_off(daemon: Daemon, peer: socket.socket) -> Iterator[None]:
    """The daemon sees only what it is told within, and that the peer has gone without a look."""
    select.select([peer], [], [], 20)  # something is there that will not be read
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        yield
        peer.close()
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def test_a_monitor(daemon: Daemon) -> None:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(daemon.folder / "hostile"))
    with breaks_off(daemon, peer):
        peer.sendall(b" " * 100_000)
    client = daemon.client()
    assert "return" in client.execute("query-status")
    client.close()


def test_an_nbd_client(daemon: Daemon) -> None:
    monitor = daemon.client()
    address = {"type": "unix", "data": {"path": "nbd"}}
    assert "return" in monitor.execute("nbd-server-start", addr=address)
    before = daemon.descriptors
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(daemon.folder / "nbd"))
    with breaks_off(daemon, peer):
        peer.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 99, 1 << 20) + bytes(150_000))
    until(lambda: daemon.descriptors == before)
    monitor.close()


def test_a_vhost_user_client(daemon: Daemon) -> None:
    monitor = daemon.client()
    address = {"type": "unix", "path": "v"}
    options = {"type": "vhost-user-blk", "id": "e", "node_name": "disk0", "addr": address}
    assert "return" in monitor.execute("block-export-add", **options)
    monitor.close()
    peer = VhostClient(daemon.folder / "v")
    peer.send(vhost.GET_QUEUE_NUM)
    with breaks_off(daemon, peer.socket):
        peer.send(vhost.SET_FEATURES, bytes(8))
        peer.send(vhost.SET_FEATURES, bytes(8))
    client = VhostClient(daemon.folder / "v")
    client.start()
    assert client.request(vhost.FLUSH).status == 0
    client.close()


class Frontend:
    """Takes what comes."""

    def __init__(self) -> None:
        self.got = b""

    def opened(self) -> None:
        pass

    def feed(self, data: bytes) -> None:
        self.got += data


def test_datagrams_that_come_after_one_was_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        port = str(peer.getsockname()[1])
    remote = {"type": "inet", "host": "127.0.0.1", "port": port}
    loop = new_event_loop()
    chardev = UdpChardev("u", loop, remote, None)
    frontend = Frontend()
    chardev.frontend = frontend  # type: ignore[assignment]
    chardev.start()
    own = chardev._socket.getsockname()

    def refused() -> None:
        chardev.send(b"to nobody")
        loop.call_later(0.05, answered)

    def answered() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
            late.bind(("127.0.0.1", int(port)))
            late.sendto(b"here", own)
        loop.call_later(0.05, loop.stop)

    loop.call_soon(refused)
    loop.run_forever()
    chardev.close()
    loop.close()
    assert frontend.got == b"here"
