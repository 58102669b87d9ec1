"""Requests of NBD, one at a time, and what comes of them."""

from __future__ import annotations

import struct
from pathlib import Path

from benchmarks.nbd_client import Connection
from qmpd.block.drivers.protocols.nbd.protocol import REQUEST, REQUEST_MAGIC, Command
from tests.exhaustion.beside import Client

_SIMPLE = b"\x67\x44\x66\x98"
_ERROR = 1 << 15
_DATA = 1


def export(client: Client, folder: Path, *nodes: str) -> str:
    """Export nodes by NBD, each under its name; returns where."""
    path = str(folder / "nbd")
    address = {"type": "unix", "data": {"path": path}}
    assert "return" in client.execute("nbd-server-start", addr=address)
    for node in nodes:
        export = {"type": "nbd", "id": node, "node_name": node, "name": node, "writable": True}
        assert "return" in client.execute("block-export-add", **export)
    return path


def reopen(client: Client, node: str) -> None:
    """Let discards of a disk free memory."""
    file = {"driver": "file", "filename": f"/{node}.raw", "discard": "unmap"}
    options = {"driver": "raw", "node-name": node, "discard": "unmap", "file": file}
    assert client.execute("blockdev-reopen", options=[options]) == {"return": {}}


def _ask(nbd: Connection, command: int, offset: int, length: int, data: bytes, flags: int) -> None:
    nbd.socket.sendall(REQUEST.pack(REQUEST_MAGIC, flags, command, 7, offset, length) + data)


def _answer(nbd: Connection) -> tuple[bytes, bytes]:
    """What the error chunk of a reply says, or nothing; and its data."""
    error, data = b"", b""
    while True:
        if nbd.exactly(4) == _SIMPLE:
            return nbd.exactly(12)[:4].strip(b"\0"), b""
        flags, kind, _, length = struct.unpack(">HHQI", nbd.exactly(16))
        payload = nbd.exactly(length)
        if kind & _ERROR:
            error = payload
        elif kind == _DATA:
            data += payload[8:]
        elif length:
            data += bytes(int.from_bytes(payload[8:12], "big"))
        if flags & 1:
            return error, data


def write(nbd: Connection, offset: int, data: bytes, flags: int = 0) -> bytes:
    """Write; returns the error, nothing if there is none."""
    _ask(nbd, Command.WRITE, offset, len(data), data, flags)
    return _answer(nbd)[0]


def trim(nbd: Connection, offset: int, length: int) -> bytes:
    """Free an area; returns the error."""
    _ask(nbd, Command.TRIM, offset, length, b"", 0)
    return _answer(nbd)[0]


def read_or_error(nbd: Connection, offset: int, length: int) -> tuple[bytes, bytes]:
    """Read; returns the error, and the data."""
    _ask(nbd, Command.READ, offset, length, b"", 0)
    return _answer(nbd)


def read(nbd: Connection, offset: int, length: int) -> bytes:
    """Read what can be read."""
    error, data = read_or_error(nbd, offset, length)
    assert not error
    return data


def nbd_error(error: bytes) -> int:
    """The number of an error."""
    return int.from_bytes(error[:4], "big")
