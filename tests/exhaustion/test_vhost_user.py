"""Clients of vhost-user that cut their memory off, fill event descriptors, hand over anything."""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.exhaustion.beside import Client, Daemon, serving
from tests.export import vhost_client as vhost
from tests.export.vhost_client import DATA, FLUSH, IN, NEXT, OUT, USER, WRITE, VhostClient
from tests.support.until import until

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path, "--disk", "disk0=1M") as made:
        export(made.client())
        yield made


def export(monitor: Client) -> None:
    address = {"type": "unix", "path": "v"}
    options = {"type": "vhost-user-blk", "id": "e", "node_name": "disk0", "addr": address}
    assert "return" in monitor.execute("block-export-add", writable=True, **options)
    monitor.close()


def started(daemon: Daemon, *, sealed: bool = False) -> VhostClient:
    client = VhostClient(daemon.folder / "v")
    if sealed:
        client.memory.close()
        os.close(client.fd)
        client.fd = os.memfd_create("guest", os.MFD_ALLOW_SEALING)
        os.ftruncate(client.fd, client.size)
        fcntl.fcntl(client.fd, fcntl.F_ADD_SEALS, SEALS)
        client.memory = mmap.mmap(client.fd, client.size)
    client.start()
    return client


def offer_flush(client: VhostClient) -> None:
    """Ask for a flush, and do not wait for it."""
    ring = client.rings[0]
    client.memory[DATA : DATA + 16] = struct.pack("<IIQ", FLUSH, 0, 0)
    ring.put(0, DATA, 16, NEXT, 1)
    ring.put(1, DATA + 64, 1, WRITE)
    ring.offer(0)
    ring.ring()


def serves_on(daemon: Daemon) -> None:
    client = started(daemon)
    assert client.request(FLUSH).status == 0
    client.close()
    monitor = daemon.client()
    assert "return" in monitor.execute("query-status")
    monitor.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_memory_is_read_and_written(daemon: Daemon, sealed: bool) -> None:
    client = started(daemon, sealed=sealed)
    data = os.urandom(3 * 4096)
    assert client.request(OUT, 8, data).status == 0
    assert client.request(IN, 8, length=len(data)).data == data
    for _ in range(600):  # index and ring come round
        assert client.request(FLUSH).status == 0
    client.close()


def test_memory_that_is_cut_off_before_the_rings_are_told(daemon: Daemon) -> None:
    client = VhostClient(daemon.folder / "v")
    client.set_memory()
    os.ftruncate(client.fd, 0)
    client.tell(vhost.SET_VRING_NUM, struct.pack("<II", 0, 64))
    client.tell(vhost.SET_VRING_BASE, struct.pack("<II", 0, 0))
    client.tell(vhost.SET_VRING_ADDR, struct.pack("<IIQQQQ", 0, 0, USER, USER, USER, 0))
    assert client.gone()
    client.socket.close()
    serves_on(daemon)


def test_memory_that_is_cut_off_while_requests_run(daemon: Daemon) -> None:
    client = started(daemon)
    size = client.size
    # another process, for what is mapped here would kill this one
    cut = f"import os\nwhile True: os.ftruncate({client.fd}, 0); os.ftruncate({client.fd}, {size})"
    cutter = subprocess.Popen([sys.executable, "-c", cut], pass_fds=[client.fd])
    try:
        poll = select.poll()
        poll.register(client.socket, select.POLLIN | select.POLLHUP)
        while not poll.poll(1):
            os.eventfd_write(client.rings[0].kick, 1)
    finally:
        cutter.send_signal(signal.SIGKILL)
        cutter.wait()
    client.socket.close()
    os.ftruncate(client.fd, size)
    serves_on(daemon)


def test_event_descriptors_that_are_full_and_wait(daemon: Daemon) -> None:
    client = started(daemon)
    call = client.rings[0].call
    os.set_blocking(call, True)
    os.eventfd_write(call, 2**64 - 2)
    for _ in range(2):
        offer_flush(client)
    monitor = daemon.client()
    assert "return" in monitor.execute("query-status")
    monitor.close()
    client.close()
    serves_on(daemon)


def test_kicks_that_are_taken_back(daemon: Daemon) -> None:
    client = started(daemon)
    kick = client.rings[0].kick
    os.set_blocking(kick, True)
    for _ in range(2000):
        os.eventfd_write(kick, 1)
        with suppress(BlockingIOError):
            os.preadv(kick, [bytearray(8)], -1, os.RWF_NOWAIT)
    monitor = daemon.client()
    assert "return" in monitor.execute("query-status")
    monitor.close()
    client.close()
    serves_on(daemon)


@pytest.mark.parametrize("number", [7, vhost.SET_VRING_KICK, vhost.SET_VRING_CALL, 14])
def test_the_own_end_of_the_connection(daemon: Daemon, number: int) -> None:
    client = VhostClient(daemon.folder / "v")
    client.send(number, bytes(8), [client.socket.fileno()])
    client.close()
    serves_on(daemon)


@pytest.mark.parametrize("request_number", ["KICK", "CALL", "ERR"])
def test_descriptors_that_only_say_where_a_file_is(daemon: Daemon, request_number: str) -> None:
    serves_on(daemon)
    before = daemon.descriptors
    for _ in range(5):
        client = VhostClient(daemon.folder / "v")
        path = os.open("/", os.O_PATH)
        client.tell(getattr(vhost, f"SET_VRING_{request_number}"), bytes(8), [path])
        assert client.gone()
        os.close(path)
        client.socket.close()
    serves_on(daemon)
    # it has yet to see that the last client has gone
    until(lambda: daemon.descriptors <= before)
