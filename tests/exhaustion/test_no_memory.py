"""All memory used up, to the last: who asks is told so, others are served, and it can be freed."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from benchmarks.nbd_client import Connection
from tests.exhaustion.beside import Client, Daemon
from tests.exhaustion.nbd import export, nbd_error, read, read_or_error, reopen, trim, write

ROOM = 48 << 20
"""Bytes that the daemon may still have."""
MIB = 1 << 20
NONE = (errno.ENOSPC, errno.ENOMEM)
"""There is none for the image, or for what is on its way there."""
REFUSED = "not enough memory"


def bound(daemon: Daemon, room: int = ROOM) -> None:
    """Let a daemon have no more than `room` further bytes."""
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + room
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most, most))


def _fill(client: Client, name: str) -> int:
    """Add bitmaps with long names until one is refused; returns how many there are."""
    for number in range(1_000_000):
        answer = client.execute("block-dirty-bitmap-add", node="disk0", name=_named(name, number))
        if "error" in answer:
            assert REFUSED in answer["error"]["desc"], answer
            return number
    raise AssertionError("there is no limit")


def _named(name: str, number: int) -> str:
    return f"{name}-{number}-".ljust(1000, "x")


def use_up(client: Client, other: Client, attempts: int = 200) -> None:
    """Take all memory by bitmaps, and free some."""
    client.execute("block-dirty-bitmap-add", node="disk0", name="first")
    count = _fill(client, "bitmap")
    assert count > 100
    for attempt in range(attempts):
        # a few may still find a place
        assert _fill(client, f"again{attempt}") < 100
    assert other.execute("query-status")["return"]["running"]
    for number in range(count // 2):
        name = _named("bitmap", number)
        assert other.execute("block-dirty-bitmap-remove", node="disk0", name=name) == {"return": {}}
    assert client.execute("block-dirty-bitmap-add", node="disk0", name="more") == {"return": {}}


def test_bitmaps_until_nothing_is_left(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--disk", "disk0=1M")
    client, other = daemon.client(), daemon.client("quiet")
    bound(daemon)
    use_up(client, other)
    client.close()
    other.close()
    assert "Traceback" not in daemon.end()


def test_a_fork_has_the_reserve_too(tmp_path: Path) -> None:
    control = tmp_path / "control"
    daemon = Daemon(tmp_path, "--disk", "disk0=1M", "--control", f"unix:{control}")
    bench, first = Client(control), daemon.client()
    assert "return" in bench.execute("x-sim-checkpoint")
    for name in ("a", "b"):
        fork = {"id": "checkpoint0", "qmp": f"unix:{tmp_path / name}"}
        assert "return" in bench.execute("x-sim-fork", **fork)
    a, b = Client(tmp_path / "a"), Client(tmp_path / "b")
    bound(daemon)
    use_up(a, a, 20)
    assert first.execute("query-status")["return"]["running"]
    # whatever is freed by one machine, all have
    assert "return" in b.execute("block-dirty-bitmap-add", node="disk0", name="b")
    for client in (a, b, bench, first):
        client.close()
    assert "Traceback" not in daemon.end()


@pytest.mark.parametrize("size", [4096, 65536, MIB])
def test_an_image_until_nothing_is_left(tmp_path: Path, size: int) -> None:
    daemon = Daemon(tmp_path, "--disk", "disk0=4G", "--disk", "disk1=4G")
    client, quiet = daemon.client(), daemon.client("quiet")
    path = export(client, tmp_path, "disk0", "disk1")
    reopen(client, "disk0")
    nbd, other = Connection(path, "disk0"), Connection(path, "disk1")
    bound(daemon, 2 * ROOM)
    offset = 0
    while not (error := write(nbd, offset, os.urandom(size))):
        offset += size
    assert nbd_error(error) == errno.ENOSPC
    assert offset > ROOM
    # the connection goes on, others do, and nothing is lost
    assert nbd_error(write(nbd, offset, os.urandom(size), flags=1)) in NONE
    assert read(nbd, offset, size) == bytes(size)
    assert nbd_error(write(other, 0, os.urandom(MIB))) in NONE
    assert read(other, 0, 65536) == bytes(65536)
    assert quiet.execute("query-status")["return"]["running"]
    # there is no memory for so much data
    assert nbd_error(write(other, 0, os.urandom(32 * MIB))) == errno.ENOMEM
    assert nbd_error(read_or_error(nbd, 0, 32 * MIB)[0]) == errno.ENOMEM
    assert not trim(nbd, 0, 1 << 30)
    for connection in (nbd, other):
        assert not write(connection, MIB, os.urandom(size))
    for connection in (nbd, other):
        connection.close()
    client.close()
    quiet.close()
    assert "Traceback" not in daemon.end()
