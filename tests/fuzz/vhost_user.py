"""Clients of a vhost-user export: messages, descriptors and rings that make little sense."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, Final

from tests.export import vhost_client as vhost
from tests.export.vhost_client import DATA, USER, Refused, VhostClient
from tests.fuzz.fuzzer import LIMIT, Fuzzer

SET_BACKEND_REQ_FD: Final = 21
_SMALL: Final = (0, 1, 2, 255, 0x100, 4096, USER)
_FILES: Final = ("memory", "memory", "event", "event", "pipe", "null", "path", "socket")
_KINDS: Final = (vhost.IN, vhost.OUT, vhost.FLUSH, vhost.GET_ID, vhost.DISCARD, 13, 99)


def _message(chance: Random) -> list[Any]:
    """A message: its number, payload, descriptors and flags."""
    payload = chance.randbytes(chance.choice((0, 4, 8, 12, 40, 72, 200, 273)))
    if chance.random() < 0.7:
        payload = b"".join(struct.pack("<Q", chance.choice(_SMALL)) for _ in range(5))
        payload = payload[: chance.choice((8, 8, 12, 40))]
    files = [chance.choice(_FILES) for _ in range(chance.choice((0, 0, 1, 1, 2, 3)))]
    number = chance.choice((*range(42), chance.getrandbits(32)))
    if number == SET_BACKEND_REQ_FD:
        # that may be a socket; where it is the client's own end the connection would never end
        files = [file for file in files if file != "socket"]
    flags = chance.choice((1, 1, 1, 9, 9, 0, chance.getrandbits(32)))
    return ["message", number, payload.decode("latin-1"), files, flags]


def _chains(chance: Random) -> list[Any]:
    """Descriptors, what is at the address of data, and the heads that are offered."""
    table = []
    for index in range(8):
        address = chance.choice((0, DATA, DATA, DATA + 16, (8 << 20) - 7, chance.getrandbits(64)))
        length = chance.choice((0, 1, 16, 16, 512, 4096, chance.getrandbits(32)))
        following = chance.choice((index + 1, index + 1, *range(9), 64, 65535))
        table.append([address, length, chance.choice((*range(8), 1, 2, 3)), following])
    sector = chance.choice((0, 1, 8, 1 << 11, chance.getrandbits(64)))
    data = struct.pack("<IIQ", chance.choice(_KINDS), 0, sector)
    data = chance.choice((data, data, chance.randbytes(24)))
    heads = [chance.choice((0, 0, *range(9), 64, 65535)) for _ in range(chance.randrange(1, 5))]
    return ["chains", table, data.decode("latin-1"), heads]


@contextmanager
def _file(kind: str, client: VhostClient) -> Iterator[int]:
    """A descriptor to hand over."""
    if kind == "memory":
        yield client.fd
        return
    if kind == "event":
        found = [os.eventfd(0, os.EFD_NONBLOCK)]
    elif kind == "pipe":
        found = list(os.pipe())
    elif kind == "socket":
        found = [os.dup(client.socket.fileno())]
    else:
        path, flags = ("/dev/null", os.O_RDWR) if kind == "null" else ("/", os.O_PATH)
        found = [os.open(path, flags)]
    try:
        yield found[0]
    finally:
        for each in found:
            os.close(each)


class VhostUser(Fuzzer):
    """An input is the number of queues that a client starts, and the steps that follow."""

    name = "vhost-user"
    warm_up = 200

    @staticmethod
    def make(chance: Random) -> Any:
        queues = chance.choice((0, 1, 1, 1, 2))
        steps = [
            _chains(chance) if queues and chance.random() < 0.6 else _message(chance)
            for _ in range(chance.randrange(1, 7))
        ]
        if queues and chance.random() < 0.1:
            steps.append(["cut", chance.choice((0, 4096, 1 << 20))])
        return {"queues": queues, "steps": steps}

    def begin(self) -> None:
        address = {"type": "unix", "path": str(self.daemon.folder / "v")}
        options = {"id": "e", "node_name": "disk0", "addr": address, "num_queues": 2}
        self.do("block-export-add", type="vhost-user-blk", writable=True, **options)

    def play(self, made: Any) -> int:
        client = VhostClient(self.daemon.folder / "v", timeout=LIMIT)
        try:
            if made["queues"]:
                client.start(made["queues"])
            for step in made["steps"]:
                getattr(self, f"_{step[0]}")(client, *step[1:])
                self._await(client)
        except Refused:
            pass
        finally:
            client.close()
        return 1

    def _message(
        self, client: VhostClient, number: int, payload: str, files: list[str], flags: int
    ) -> None:
        with ExitStack() as held:
            descriptors = [held.enter_context(_file(kind, client)) for kind in files]
            client.send(number, payload.encode("latin-1"), descriptors, flags)

    def _chains(
        self, client: VhostClient, table: list[list[int]], data: str, heads: list[int]
    ) -> None:
        ring = client.rings[0]
        for index, entry in enumerate(table):
            ring.put(index, *entry)
        client.memory[DATA : DATA + len(data)] = data.encode("latin-1")
        for head in heads:
            ring.offer(head)
        ring.ring()

    def _cut(self, client: VhostClient, size: int) -> None:
        os.ftruncate(client.fd, size)
        client.rings[0].ring()

    def _await(self, client: VhostClient) -> None:
        """Wait until it has been seen."""
        for descriptor in client.ask(vhost.GET_QUEUE_NUM).fds:
            os.close(descriptor)

    def leave(self) -> None:
        pass
