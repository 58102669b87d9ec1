"""Clients of an NBD server, that send without a look at what they are told."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from contextlib import suppress
from random import Random
from typing import Any, Final

from tests.differential.nbd_sessions import (
    EDGES,
    LENGTHS,
    NAMES,
    OPTION_MAGIC,
    QUERIES,
    SIZE,
    TAILS,
    option,
)
from tests.fuzz.fuzzer import LIMIT, Failed, Fuzzer
from tests.fuzz.mutate import mutated

_FILL: Final = (0, 0, 1, 8, 512, 4096, 70000)


def _string(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _option(chance: Random) -> bytes:
    name = _string(chance.choice((b"exp", b"exp", b"ro", *NAMES)))
    match chance.randrange(8):
        case 0 | 1:
            queries = chance.choices(QUERIES, k=chance.randrange(5))
            count = struct.pack(">I", chance.choice((len(queries), len(queries), 1 << 30)))
            data = name + count + b"".join(map(_string, queries))
            return option(chance.choice((9, 10, 10)), data).data
        case 2 | 3:
            wanted = [chance.randrange(6) for _ in range(chance.randrange(4))]
            data = name + struct.pack(f">H{len(wanted)}H", len(wanted), *wanted)
            return option(chance.choice((6, 6, 7)), data + chance.choice((b"", b"", b"x"))).data
        case 4:
            return option(8, b"").data
        case 5:
            return option(11, b"").data
        case 6:
            length = chance.choice((0, 8, 4096, 1 << 20, (32 << 20) + 1, (1 << 32) - 1))
            number = chance.choice((2, 3, 5, 99, chance.getrandbits(32)))
            return OPTION_MAGIC + struct.pack(">II", number, length) + bytes(chance.choice(_FILL))
        case _:
            number = chance.choice((1, 2, 3, 4, 5, 8, 11, 12, 99, 0xFFFFFFFF))
            return option(number, chance.randbytes(chance.choice(_FILL))).data


def _entrance(chance: Random) -> bytes:
    name = chance.choice((b"exp", b"exp", b"exp", b"ro", b"", b"nope"))
    if chance.randrange(4):
        return option(7, _string(name) + struct.pack(">H", 0)).data
    return option(1, name).data


def _request(chance: Random, *, extended: bool) -> bytes:
    command = chance.choice((0, 0, 1, 1, 3, 4, 5, 6, 6, 7, 7, 8, 99, 2))
    flags = chance.choice((0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 3, 64, 0x8000))
    offset = chance.choice((*EDGES, chance.randrange(SIZE), chance.getrandbits(64)))
    length = chance.choice((*LENGTHS, chance.randrange(8192), chance.getrandbits(32)))
    payload = b""
    if command == 1 or (extended and flags & 32):
        length = min(length, 70000)
        payload = chance.randbytes(length if chance.randrange(20) else length // 2)
    head = struct.pack(">HHQQ", flags, command, chance.getrandbits(64), offset)
    if extended:
        return b"\x21\xe4\x1c\x71" + head + struct.pack(">Q", length) + payload
    return b"\x25\x60\x95\x13" + head + struct.pack(">I", length & 0xFFFFFFFF) + payload


class Nbd(Fuzzer):
    """An input is all that a client sends, and whether it is gone at once then."""

    name = "nbd"
    warm_up = 1000
    memory = 24 << 20

    @staticmethod
    def make(chance: Random) -> Any:
        parts = [struct.pack(">I", chance.choice((3, 3, 3, 3, 3, 1, 2, 0, 4, 0xFFFFFFFF)))]
        extended = chance.random() < 0.3
        if extended:
            parts.append(option(11, b"").data)
        parts += [_option(chance) for _ in range(chance.randrange(5))]
        parts.append(_entrance(chance))
        parts += [_request(chance, extended=extended) for _ in range(chance.randrange(9))]
        parts.append(chance.choice(TAILS))
        data = b"".join(parts)
        if chance.random() < 0.2:
            data = mutated(chance, data, chance.randrange(1, 4))
        if chance.random() < 0.1:
            data = data[: chance.randrange(len(data) + 1)]
        return {"data": data.decode("latin-1"), "gone": chance.random() < 0.2}

    def begin(self) -> None:
        self._path = str(self.daemon.folder / "nbd")
        bitmap = {"node": "disk0", "name": "b"}
        self.do("block-dirty-bitmap-add", **bitmap)
        self.do("block-dirty-bitmap-disable", **bitmap)
        address = {"type": "unix", "data": {"path": self._path}}
        self.do("nbd-server-start", addr=address)
        for name, more in (
            ("exp", {"writable": True, "allocation_depth": True}),
            ("ro", {"description": "about", "bitmaps": ["b"]}),
        ):
            options = {"type": "nbd", "id": name, "name": name, "node_name": "disk0", **more}
            self.do("block-export-add", **options)

    def play(self, made: Any) -> int:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(LIMIT)
            peer.connect(self._path)
            data = made["data"].encode("latin-1")
            if made["gone"]:
                peer.setblocking(False)
                with suppress(BlockingIOError, ConnectionError):
                    peer.send(data)
            else:
                _talk(peer, data)
        return 1

    def leave(self) -> None:
        pass


def _talk(peer: socket.socket, data: bytes) -> None:
    """Send, and take all answers, until the server leaves."""
    peer.setblocking(False)
    view, deadline = memoryview(data), time.monotonic() + LIMIT
    with selectors.DefaultSelector() as selector:
        selector.register(peer, selectors.EVENT_READ | (selectors.EVENT_WRITE if data else 0))
        if not data:
            peer.shutdown(socket.SHUT_WR)
        while True:
            ready = selector.select(deadline - time.monotonic())
            if not ready:
                raise Failed("the server does not leave a client that has sent all")
            try:
                if ready[0][1] & selectors.EVENT_READ and not peer.recv(1 << 20):
                    return
                if view and ready[0][1] & selectors.EVENT_WRITE:
                    view = view[peer.send(view[: 1 << 16]) :]
                    if not view:
                        peer.shutdown(socket.SHUT_WR)
                        selector.modify(peer, selectors.EVENT_READ)
            except BlockingIOError:
                continue
            except ConnectionError:
                return
