"""What a vhost-user client can do wrong: its connection ends, and nothing else does."""

from __future__ import annotations

import os
import random
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.export import vhost_client as vhost
from tests.export.vhost_client import DATA, FLUSH, INDIRECT, NEXT, USER, WRITE, Refused, VhostClient
from tests.export.vhost_pair import Exporter, running, same


@pytest.fixture(scope="module")
def daemons() -> Iterator[list[Exporter]]:
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as made:
        for exporter in made:
            exporter.export()
        yield made
        assert "Traceback" not in made[0].program.stderr()


@pytest.fixture
def exporters(daemons: list[Exporter]) -> Iterator[list[Exporter]]:
    yield daemons
    for exporter in daemons:
        exporter.leave()


HEADER = struct.pack("<IIQ", FLUSH, 0, 0)


def table(*entries: tuple[int, int, int, int]) -> bytes:
    """Descriptors: address, length, flags, next."""
    return b"".join(struct.pack("<QIHH", *entry) for entry in entries)


GOOD = table((DATA, 16, NEXT, 1), (DATA + 64, 1, WRITE, 0))
CHAINS: dict[str, tuple[bytes, int]] = {
    "good": (GOOD, 0),
    "head": (GOOD, 64),
    "head far": (GOOD, 65535),
    "next": (table((DATA, 16, NEXT, 64)), 0),
    "next far": (table((DATA, 16, NEXT, 65535)), 0),
    "loop of one": (table((DATA, 16, NEXT, 0)), 0),
    "loop of two": (table((DATA, 16, NEXT, 1), (DATA, 16, NEXT, 0)), 0),
    "loop of writes": (table((DATA, 16, NEXT | WRITE, 1), (DATA, 16, NEXT | WRITE, 0)), 0),
    "empty buffer": (table((DATA, 0, NEXT, 1), (DATA, 1, WRITE, 0)), 0),
    "outside": (table((1 << 40, 16, NEXT, 1), (DATA, 1, WRITE, 0)), 0),
    "over the end": (table(((8 << 20) - 8, 16, NEXT, 1), (DATA, 1, WRITE, 0)), 0),
    "around the end": (table(((1 << 64) - 8, 16, NEXT, 1), (DATA, 1, WRITE, 0)), 0),
    "status outside": (table((DATA, 16, NEXT, 1), (1 << 50, 1, WRITE, 0)), 0),
    "huge": (table((DATA, 0xFFFFFFFF, NEXT, 1), (DATA, 1, WRITE, 0)), 0),
    "order": (table((DATA + 64, 1, NEXT | WRITE, 1), (DATA, 16, 0, 0)), 0),
    "no status": (table((DATA, 16, 0, 0)), 0),
    "no header": (table((DATA, 16, WRITE, 0)), 0),
    "short header": (table((DATA, 15, NEXT, 1), (DATA + 64, 1, WRITE, 0)), 0),
    "header in parts": (
        table((DATA, 7, NEXT, 1), (DATA + 7, 9, NEXT, 2), (DATA + 64, 1, WRITE, 0)),
        0,
    ),
    "indirect": (table((DATA + 256, 32, INDIRECT, 0)), 0),
    "indirect and next": (table((DATA + 256, 32, INDIRECT | NEXT, 1)), 0),
    "indirect odd": (table((DATA + 256, 33, INDIRECT, 0)), 0),
    "indirect empty": (table((DATA + 256, 0, INDIRECT, 0)), 0),
    "indirect outside": (table((1 << 40, 32, INDIRECT, 0)), 0),
    "indirect over the end": (table(((8 << 20) - 16, 32, INDIRECT, 0)), 0),
    "indirect cut off": (table((DATA + 256, 16, INDIRECT, 0)), 0),
    "indirect within": (table((DATA + 512, 32, INDIRECT, 0)), 0),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(exporters: list[Exporter], name: str) -> None:
    descriptors, head = CHAINS[name]

    def answer(exporter: Exporter) -> Any:
        client = exporter.start()
        ring = client.rings[0]
        client.memory[DATA : DATA + 16] = HEADER
        client.memory[DATA + 256 : DATA + 256 + len(GOOD)] = GOOD
        within = table((DATA, 16, NEXT | INDIRECT, 1), (DATA + 64, 1, WRITE, 0))
        client.memory[DATA + 512 : DATA + 512 + len(within)] = within
        client.memory[ring.desc : ring.desc + len(descriptors)] = descriptors
        ring.offer(head)
        ring.ring()
        try:
            return client.await_used(ring, 1), client.memory[DATA + 64]
        except Refused:
            return "refused"

    def dropped(exporter: Exporter) -> Any:
        client = exporter.start()
        ring = client.rings[0]
        client.memory[DATA : DATA + 16] = HEADER
        client.memory[ring.desc : ring.desc + len(descriptors)] = descriptors
        ring.offer(head)
        ring.put(8, DATA, 16, NEXT, 9)
        ring.put(9, DATA + 64, 1, WRITE)
        ring.offer(8)
        ring.ring()
        return client.await_used(ring, 1)

    unanswered = ("no status", "no header", "short header")
    same(exporters, dropped if name in unanswered else answer)
    for exporter in exporters:
        exporter.leave()
        assert exporter.start().request(FLUSH).status == 0


@pytest.mark.parametrize("ahead", [65, 1000, 65535])
def test_an_available_index_far_ahead(exporters: list[Exporter], ahead: int) -> None:
    client = exporters[0].start()
    ring = client.rings[0]
    struct.pack_into("<H", client.memory, ring.avail + 2, ahead)
    ring.ring()
    assert client.gone()
    assert exporters[0].start().request(FLUSH).status == 0


def state(index: int, number: int) -> bytes:
    return struct.pack("<II", index, number)


def regions(*entries: tuple[int, int, int, int]) -> bytes:
    packed = b"".join(struct.pack("<QQQQ", *entry) for entry in entries)
    return struct.pack("<II", len(entries), 0) + packed


def config(offset: int, size: int, flags: int, data: bytes = b"\0") -> bytes:
    return struct.pack("<III", offset, size, flags) + data


PAGE = (0, 4096, USER, 0)
MESSAGES: dict[str, tuple[int, bytes, int]] = {
    "unknown": (99, b"", 0),
    "none": (0, b"", 0),
    "not for disks": (19, bytes(8), 0),
    "legacy": (vhost.SET_FEATURES, bytes(8), 0),
    "short features": (vhost.SET_FEATURES, b"\1\0\0\0", 0),
    "longest": (vhost.SET_OWNER, bytes(272), 0),
    "too long": (vhost.SET_OWNER, bytes(273), 0),
    "descriptor not wanted": (vhost.SET_OWNER, b"", 1),
    "eight descriptors": (vhost.SET_OWNER, b"", 8),
    "no regions": (vhost.SET_MEM_TABLE, regions(), 0),
    "region of nothing": (vhost.SET_MEM_TABLE, regions((0, 0, USER, 0)), 1),
    "region too large": (vhost.SET_MEM_TABLE, regions((0, 1 << 63, USER, 0)), 1),
    "odd offset": (vhost.SET_MEM_TABLE, regions((0, 4096, USER, 100)), 1),
    "too many descriptors": (vhost.SET_MEM_TABLE, regions(PAGE), 3),
    "regions that overlap": (vhost.SET_MEM_TABLE, regions(PAGE, PAGE), 2),
    "ring without memory": (vhost.SET_VRING_ADDR, state(0, 0) + struct.pack("<4Q", *[USER] * 4), 0),
    "enabling no queue": (vhost.SET_VRING_ENABLE, state(99, 1), 0),
    "kick of no queue": (vhost.SET_VRING_KICK, struct.pack("<Q", 99), 1),
    "kick without": (vhost.SET_VRING_KICK, struct.pack("<Q", 0), 0),
    "two kicks": (vhost.SET_VRING_KICK, struct.pack("<Q", 0), 2),
    "call of no queue": (vhost.SET_VRING_CALL, struct.pack("<Q", 1), 1),
    "call of a file": (vhost.SET_VRING_CALL, struct.pack("<Q", 0), 1),
    "error of no queue": (vhost.SET_VRING_ERR, struct.pack("<Q", 200), 1),
    "no call": (vhost.SET_VRING_CALL, struct.pack("<Q", 0x100), 0),
    "no kick": (vhost.SET_VRING_KICK, struct.pack("<Q", 0x100), 0),
    "config elsewhere": (vhost.SET_CONFIG, config(31, 1, 0), 0),
    "config too much": (vhost.SET_CONFIG, config(32, 2, 0, b"\0\0"), 0),
    "config of a migration": (vhost.SET_CONFIG, config(32, 1, 1), 0),
    "config without data": (vhost.SET_CONFIG, config(32, 1, 0, b""), 0),
    "add without": (vhost.ADD_MEM_REG, bytes(8) + struct.pack("<4Q", *PAGE), 0),
    "add two": (vhost.ADD_MEM_REG, bytes(8) + struct.pack("<4Q", *PAGE), 2),
    "add cut off": (vhost.ADD_MEM_REG, bytes(8), 1),
    "remove what is not": (vhost.REM_MEM_REG, bytes(8) + struct.pack("<4Q", *PAGE), 0),
    "remove with two": (vhost.REM_MEM_REG, bytes(8) + struct.pack("<4Q", *PAGE), 2),
    "log file without": (7, b"", 0),
    "log file first": (7, b"", 1),
    "back-channel without": (21, b"", 0),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(exporters: list[Exporter], name: str) -> None:
    request, payload, count = MESSAGES[name]

    def answer(exporter: Exporter) -> list[Any]:
        client = exporter.connect()
        seen: list[Any] = []
        try:
            client.send(request, payload, [client.fd] * count, flags=1 | 8)
            seen.append(client.receive())
            seen.append(client.number(vhost.GET_FEATURES))
        except Refused:
            seen.append("refused")
        exporter.leave()
        assert exporter.start().request(FLUSH).status == 0
        return seen

    same(exporters, answer)


QMPD_ALONE: dict[str, tuple[int, bytes, int]] = {
    # Where QEMU goes on with memory that is not there, or ends.
    "queue size of no queue": (vhost.SET_VRING_NUM, state(99, 8), 0),
    "base of no queue": (vhost.SET_VRING_BASE, state(7, 8), 0),
    "asking for the base of no queue": (vhost.GET_VRING_BASE, state(9, 0), 0),
    "addresses of no queue": (vhost.SET_VRING_ADDR, state(3, 0) + bytes(32), 0),
    "more regions than files": (vhost.SET_MEM_TABLE, regions(PAGE, (1 << 30, 4096, USER, 0)), 1),
    "a million regions": (vhost.SET_MEM_TABLE, state(1 << 20, 0), 1),
    "region beyond the file": (vhost.SET_MEM_TABLE, regions((0, 1 << 30, USER, 0)), 1),
    "offset beyond the file": (vhost.SET_MEM_TABLE, regions((0, 4096, USER, 1 << 30)), 1),
    "kick of a file": (vhost.SET_VRING_KICK, struct.pack("<Q", 0), 1),
    "nine descriptors": (vhost.SET_OWNER, b"", 9),
    "log beyond the file": (6, struct.pack("<QQ", 1 << 40, 0), 1),
    "log without": (6, struct.pack("<QQ", 4096, 0), 0),
}


@pytest.mark.parametrize("name", QMPD_ALONE)
def test_messages_that_qemu_does_not_survive(exporters: list[Exporter], name: str) -> None:
    request, payload, count = QMPD_ALONE[name]
    client = exporters[0].connect()
    client.send(request, payload, [client.fd] * count)
    assert client.gone()
    assert exporters[0].start().request(FLUSH).status == 0


class alone:
    """qmpd's daemon with an export; at its end nothing has gone wrong in it."""

    def __init__(self, folder: Path) -> None:
        self._exporter = Exporter(folder / "qmpd", real=False)
        self._exporter.export(num_queues=2)

    def __enter__(self) -> Exporter:
        return self._exporter

    def __exit__(self, *_: object) -> None:
        program = self._exporter.program
        try:
            assert program.process.poll() is None
            assert "Traceback" not in program.stderr()
        finally:
            self._exporter.close()


@pytest.mark.parametrize("size", [0, 3, 65535, 1 << 20])
def test_sizes_of_queues(tmp_path: Path, size: int) -> None:
    with alone(tmp_path) as exporter:
        client = exporter.start()
        client.tell(vhost.SET_VRING_NUM, state(0, size))
        ring = client.rings[0]
        ring.offer(0)
        ring.ring()
        if size != 3:
            assert client.gone()
        assert exporter.connect() is not None


def test_a_file_that_gets_shorter(tmp_path: Path) -> None:
    """To touch memory behind the file's end would kill the daemon (QEMU's dies)."""
    with alone(tmp_path) as exporter:
        client = exporter.start()
        os.ftruncate(client.fd, 1 << 20)
        client.rings[0].ring()
        assert client.gone()
        assert exporter.start().request(FLUSH).status == 0


def test_messages_cut_off(tmp_path: Path) -> None:
    with alone(tmp_path) as exporter:
        for data in (
            b"",
            b"\5",
            b"\5\0\0\0\1\0\0\0\x40\0\0",
            b"\5\0\0\0\1\0\0\0\x40\0\0\0" + bytes(9),
        ):
            client = exporter.connect()
            if data:
                socket.send_fds(client.socket, [data], [client.fd])
            exporter.leave()
        # One byte at a time is as good as all at once.
        client = exporter.connect()
        for byte in struct.pack("<III", vhost.GET_QUEUE_NUM, 1, 3) + b"abc":
            client.socket.sendall(bytes([byte]))
        assert client.receive().payload == struct.pack("<Q", 2)


def test_a_client_that_does_not_read(tmp_path: Path) -> None:
    """Answers it does not take are kept, and no more messages are read meanwhile."""
    with alone(tmp_path) as exporter:
        client = exporter.connect()
        client.socket.settimeout(0.2)
        sent = 0
        try:
            while sent < 100_000:
                client.send(vhost.GET_QUEUE_NUM)
                sent += 1
        except (TimeoutError, Refused):
            pass
        assert exporter.do("query-block-exports")
        client.socket.settimeout(20)
        assert client.receive().payload == struct.pack("<Q", 2)
        exporter.do("block-export-del", id="v")


def _noise(client: VhostClient, chance: random.Random) -> None:
    """Do something that makes little sense."""
    ring = client.rings[0] if client.rings else None
    if ring is None or chance.random() < 0.5:
        request = chance.choice([*range(42), chance.getrandbits(32)])
        payload = chance.randbytes(chance.choice([0, 4, 8, 12, 40, 72, 200, 273]))
        if chance.random() < 0.7:
            small = (chance.choice([0, 1, 2, 255, 0x100, 4096, USER]) for _ in range(5))
            payload = b"".join(struct.pack("<Q", one) for one in small)
        client.send(request, payload, [client.fd] * chance.randrange(4), chance.choice([1, 9]))
        client.ask(vhost.GET_QUEUE_NUM)
        return
    for index in range(8):
        address = chance.choice([0, DATA, (8 << 20) - 7, chance.getrandbits(64)])
        length = chance.choice([0, 1, 16, 512, 4096, chance.getrandbits(32)])
        following = chance.choice([*range(9), 64, 65535])
        ring.put(index, address, length, chance.randrange(8), following)
    client.memory[DATA : DATA + 24] = chance.choice([HEADER + bytes(8), chance.randbytes(24)])
    for _ in range(chance.randrange(1, 5)):
        ring.offer(chance.choice([*range(9), 64, 65535]))
    ring.ring()
    client.ask(vhost.GET_QUEUE_NUM)


def test_noise(tmp_path: Path) -> None:
    """200 clients that send nonsense; after all of them the daemon serves as before."""
    chance = random.Random(5)
    with alone(tmp_path) as exporter:
        pid = exporter.program.process.pid
        before = None
        for number in range(200):
            client = exporter.connect()
            try:
                if number % 2:
                    client.start(chance.randrange(1, 3))
                for _ in range(chance.randrange(1, 6)):
                    _noise(client, chance)
            except Refused:
                pass
            exporter.leave()
            if number % 20 == 0:
                good = exporter.start()
                assert good.request(vhost.OUT, 1, b"g" * 512).status == 0
                count = len(os.listdir(f"/proc/{pid}/fd"))
                before = count if before is None else before
                assert count == before
                exporter.leave()
