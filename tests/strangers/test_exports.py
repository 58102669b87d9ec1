"""Kinds of fault of exports that QEMU's own block tests have shown.

The letters are those of the list by which they were found; the comments name QEMU's tests.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

NBD = {"addr": {"type": "unix", "data": {"path": "s"}}}
VHOST = {"type": "vhost-user-blk", "id": "e", "node-name": "n"}
ADDRESS = {"type": "unix", "path": "s"}


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("by_node", [False, True])
def test_export_of_the_enabled_bitmap_of_another_node(
    tmp_path: Path, writable: bool, by_node: bool
) -> None:
    """V: test 223."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.execute("block-dirty-bitmap-add", node="n", name="b")
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    bitmap = {"node": "n", "name": "b"} if by_node else "b"
    options = {"type": "nbd", "id": "e", "node-name": "n", "writable": writable}
    both.execute("block-export-add", **options, bitmaps=[bitmap])
    both.look()
    both.close()


@pytest.mark.parametrize("length", [79, 80, 81, 200, 4096])
def test_nbd_shows_the_start_of_a_long_name(tmp_path: Path, length: int) -> None:
    """X: test 143."""
    both = start(tmp_path)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    said = [_ask(tmp_path / side / "s", b"n" * length) for side in ("real", "ours")]
    assert said[1] == said[0]
    both.close()


def _ask(path: Path, name: bytes) -> bytes:
    """What an NBD server says to NBD_OPT_GO of an export that there is not."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(bytes(3) + b"\x01")
        body = len(name).to_bytes(4, "big") + name + bytes(2)
        head = b"IHAVEOPT" + (7).to_bytes(4, "big") + len(body).to_bytes(4, "big")
        client.sendall(head + body)
        client.sendall(b"IHAVEOPT" + (2).to_bytes(4, "big") + bytes(4))  # abort
        data = b""
        while more := client.recv(65536):
            data += more
        return data


@pytest.mark.parametrize(
    ("command", "arguments", "then"),
    [
        ("nbd-server-start", NBD, None),
        ("nbd-server-start", NBD, ("nbd-server-stop", {})),
        ("block-export-add", {**VHOST, "addr": ADDRESS}, None),
        ("block-export-add", {**VHOST, "addr": ADDRESS}, ("block-export-del", {"id": "e"})),
    ],
)
@pytest.mark.parametrize("end", ["quit", "signal"])
def test_socket_files_at_the_end(
    tmp_path: Path,
    command: str,
    arguments: dict[str, Any],
    then: tuple[str, dict[str, Any]] | None,
    end: str,
) -> None:
    """H: test 205."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.execute(command, **arguments)
    if then is not None:
        both.execute(then[0], **then[1])
    there = []
    for side, program in (("real", both.real), ("ours", both.ours)):
        if end == "quit":
            program.send(b'{"execute": "quit"}')
        else:
            program.process.terminate()
        program.process.wait(20)
        there.append((tmp_path / side / "s").exists())
    assert there[1] == there[0]


@pytest.mark.parametrize("structured", [False, True])
def test_nbd_serves_only_reads_of_inactive_nodes(tmp_path: Path, structured: bool) -> None:
    """Z: test inactive-node-nbd."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20, read_zeroes=True)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    options = {"type": "nbd", "id": "n", "node-name": "n", "writable": True}
    both.execute("block-export-add", **options, **{"allow-inactive": True})
    both.execute("blockdev-set-active", **{"node-name": "n", "active": False})
    said = [_all_requests(tmp_path / side / "s", structured) for side in ("real", "ours")]
    assert said[1] == said[0]
    both.close()


def _all_requests(path: Path, structured: bool) -> bytes:
    """What an NBD server says to a request of each kind, and after them to a disconnection."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(bytes(3) + b"\x01")
        if structured:
            client.sendall(_option(8, b""))
            query = b"\0\0\0\x01n" + (1).to_bytes(4, "big")
            client.sendall(_option(10, query + b"\0\0\0\x0fbase:allocation"))
        client.sendall(_option(7, b"\0\0\0\x01n" + bytes(2)))
        kinds = [0, 1, 3, 4, 5, 6] + ([7] if structured else [])
        for kind in kinds:
            length = 0 if kind == 3 else 512
            head = 0x25609513.to_bytes(4, "big") + kind.to_bytes(4, "big")
            request = head + kind.to_bytes(8, "big") + bytes(8) + length.to_bytes(4, "big")
            client.sendall(request + (bytes(512) if kind == 1 else b""))
        client.sendall(0x25609513.to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes(20))
        data = b""
        while more := client.recv(65536):
            data += more
        return data


def _option(number: int, body: bytes) -> bytes:
    return b"IHAVEOPT" + number.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("how", ["eject", "drive_del", "medium", "node"])
def test_an_export_of_a_drive_goes_with_its_medium(tmp_path: Path, how: str) -> None:
    """W: test 140; exports made by nbd-server-add only."""
    drive = "if=none,media=cdrom,id=d,driver=null-co,node-name=n,read-only=on"
    both = start(tmp_path, "-drive", drive)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    both.execute("nbd-server-add", device="n" if how == "node" else "d", name="e")
    export = {"type": "nbd", "id": "f", "node-name": "n"}
    if how == "medium":
        both.execute("nbd-server-remove", name="e")
        both.execute("nbd-server-add", device="d", name="e")
    else:
        both.execute("block-export-add", **export)
    both.execute("query-block-exports")
    if how == "drive_del":
        both.execute("human-monitor-command", **{"command-line": "drive_del d"})
    else:
        both.execute("eject", device="d")
    both.execute("query-block-exports")
    both.execute("nbd-server-stop")
    both.close()
