"""All memory used up, to the last: who asks is told so, others are served, and it can be freed."""

from __future__ import annotations

import resource
from pathlib import Path

from tests.exhaustion.beside import Client, Daemon

ROOM = 48 << 20
"""Bytes that the daemon may still have."""


def _fill(client: Client, name: str) -> int:
    """Add bitmaps with long names until one is refused; returns how many there are."""
    for number in range(1_000_000):
        answer = client.execute("block-dirty-bitmap-add", node="disk0", name=_named(name, number))
        if "error" in answer:
            assert "not enough memory" in answer["error"]["desc"], answer
            return number
    raise AssertionError("there is no limit")


def _named(name: str, number: int) -> str:
    return f"{name}-{number}-".ljust(1000, "x")


def test_bitmaps_until_nothing_is_left(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--disk", "disk0=1M")
    client = daemon.client()
    client.execute("block-dirty-bitmap-add", node="disk0", name="first")
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most, most))

    count = _fill(client, "bitmap")
    assert count > 100
    for attempt in range(200):
        # a few may still find a place
        assert _fill(client, f"again{attempt}") < 100
    other = daemon.client("quiet")
    assert other.execute("query-status")["return"]["running"]
    for number in range(count // 2):
        name = _named("bitmap", number)
        assert other.execute("block-dirty-bitmap-remove", node="disk0", name=name) == {"return": {}}
    assert client.execute("block-dirty-bitmap-add", node="disk0", name="more") == {"return": {}}
    client.close()
    other.close()
    assert "Traceback" not in daemon.end()
