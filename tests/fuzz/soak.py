"""The same work again and again: memory and descriptors stay what they are."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.exhaustion.beside import Client, Daemon

PRINTED: Final = (0.1, 0.5, 1.0)
"""Parts of the work after which there are figures."""


@dataclass(frozen=True)
class Figures:
    """What a daemon has after so many requests: bytes of memory, and descriptors."""

    requests: int
    memory: int
    descriptors: int


def _round(number: int) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Requests that leave nothing behind, and whether each of them works."""
    disk, null = {"node": "disk0"}, {"driver": "null-co", "size": 1 << 20}
    actions = [
        {"type": "block-dirty-bitmap-add", "data": {**disk, "name": "t"}},
        {"type": "block-dirty-bitmap-clear", "data": {**disk, "name": "b"}},
        {"type": "block-dirty-bitmap-remove", "data": {**disk, "name": "nope"}},
    ]
    write = f'qemu-io disk0 "write -P {number % 255} {number % 16 * 65536} 4k"'
    yield "block-dirty-bitmap-add", {**disk, "name": "b"}, True
    yield "human-monitor-command", {"command-line": write}, True
    yield "query-block", {}, True
    yield "transaction", {"actions": actions}, False
    yield "transaction", {"actions": actions[:2]}, True
    yield "query-named-block-nodes", {"flat": True}, True
    yield "block-dirty-bitmap-merge", {**disk, "target": "t", "bitmaps": ["b"]}, True
    yield "block-dirty-bitmap-remove", {**disk, "name": "b"}, True
    yield "block-dirty-bitmap-remove", {**disk, "name": "t"}, True
    yield "blockdev-add", {**null, "node-name": f"n{number % 1000}"}, True
    yield "blockdev-add", {"driver": "raw", "node-name": "r", "file": f"n{number % 1000}"}, True
    yield "blockdev-del", {"node-name": f"n{number % 1000}"}, False
    yield "blockdev-del", {"node-name": "r"}, True
    yield "blockdev-del", {"node-name": f"n{number % 1000}"}, True
    yield "query-blockstats", {}, True
    yield "nope", {}, False


def _job(client: Client, number: int) -> int:
    """A backup, until it is over; returns how many requests it took."""
    target = {"driver": "null-co", "node-name": "target", "size": 1 << 20}
    client.ask(json.dumps({"execute": "blockdev-add", "arguments": target}).encode())
    backup = {"job-id": f"j{number}", "device": "disk0", "target": "target", "sync": "full"}
    client.send(json.dumps({"execute": "blockdev-backup", "arguments": backup}).encode())
    client.until(b'"BLOCK_JOB_COMPLETED"')
    client.until(b'"status": "null"')
    client.line()
    answer = client.execute("blockdev-del", node_name="target")
    assert "return" in answer, answer
    return 3


def _requests(client: Client, number: int) -> int:
    """A round of requests, sent at once; returns how many."""
    made = list(_round(number))
    client.send(
        b"".join(json.dumps({"execute": name, "arguments": a}).encode() for name, a, _ in made)
    )
    for name, arguments, works in made:
        line = client.line()
        while line.startswith(b'{"timestamp"'):
            line = client.line()
        assert line.startswith(b'{"return"') is works, (name, arguments, line)
    return len(made)


def soak(requests: int, *, quiet: bool = False) -> list[Figures]:
    """Ask a daemon for so many; returns its figures at parts of the way.

    :param quiet: do not print them
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="qf-") as folder:
        daemon = Daemon(Path(folder), "--disk", "disk0=1M")
        client = daemon.client()
        done = number = 0
        begin = time.monotonic()
        try:
            for part in PRINTED:
                while done < part * requests:
                    done += _requests(client, number)
                    if number % 100 == 0:
                        done += _job(client, number)
                        with socket.socket(socket.AF_UNIX) as other:
                            other.connect(str(daemon.folder / "quiet"))
                    number += 1
                found.append(Figures(done, daemon.memory, daemon.descriptors))
                if not quiet:
                    took = time.monotonic() - begin
                    print(
                        f"{part:4.0%}: {done} requests, {took:.0f} s,"
                        f" {daemon.memory >> 10} KiB, {daemon.descriptors} descriptors",
                        flush=True,
                    )
            client.close()
            daemon.end()
        finally:
            daemon.process.kill()
            daemon.process.wait()
    return found
