"""Requests that are answered at once: the same bytes, marks and errors as by the usual way."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

import qmpd
from qmpd.block.drivers.protocols.nbd.protocol import (
    CHUNK,
    DONE,
    FIXED_NEWSTYLE,
    MAGIC,
    NO_ZEROES,
    OPTION_HEADER,
    OPTION_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    ChunkType,
    Command,
    Option,
)

SIZE = 4 << 20
KIB = 1024


class Client:
    """A client that has chosen an export.

    :param structured: whether it has asked for structured replies
    """

    def __init__(self, path: str, export: str, *, structured: bool) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        assert self.exactly(18)[:16] == MAGIC + OPTION_MAGIC
        self.socket.sendall(struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES))
        if structured:
            self.socket.sendall(OPTION_HEADER.pack(OPTION_MAGIC, Option.STRUCTURED_REPLY, 0))
            self.exactly(20)
            self.begun()
        name = export.encode()
        header = OPTION_HEADER.pack(OPTION_MAGIC, Option.EXPORT_NAME, len(name))
        self.socket.sendall(header + name)
        self.exactly(10)

    def begun(self) -> None:
        """Other options, before an export is chosen."""

    def exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            assert more, f"{length - len(data)} bytes are missing"
            data += more
        return bytes(data)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes that a structured reply tells of."""
        self.socket.sendall(request(Command.READ, offset, length))
        return self.reply(offset, length)

    def reply(self, offset: int, length: int) -> bytes:
        data = b""
        last = 0
        while not last:
            magic, last, kind, _, size = CHUNK.unpack(self.exactly(CHUNK.size))
            assert magic == STRUCTURED_REPLY_MAGIC
            payload = self.exactly(size)
            assert struct.unpack(">Q", payload[:8]) == (offset + len(data),)
            assert kind in (ChunkType.OFFSET_DATA, ChunkType.OFFSET_HOLE)
            hole = kind == ChunkType.OFFSET_HOLE
            data += bytes(int.from_bytes(payload[8:], "big")) if hole else payload[8:]
        assert last == DONE
        assert len(data) == length
        return data

    def write(self, offset: int, data: bytes) -> None:
        self.socket.sendall(request(Command.WRITE, offset, len(data)) + data)
        assert self.exactly(16) == DONE_REPLY


DONE_REPLY = SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, 7)


def request(command: int, offset: int, length: int, flags: int = 0, cookie: int = 7) -> bytes:
    return REQUEST.pack(REQUEST_MAGIC, flags, command, cookie, offset, length)


class World:
    """A machine that exports the same image twice: as it is, and by way of a filter."""

    def __init__(self, vm: qmpd.Machine, folder: Path) -> None:
        self.vm = vm
        self.path = str(folder / "nbd.sock")
        self.clients: list[Client] = []
        filename = str(folder / "image")
        for create in (
            {"driver": "file", "filename": filename, "size": SIZE},
            {"driver": "file", "filename": filename + "2", "size": SIZE},
        ):
            vm.cmd("blockdev-create", job_id="c", options=create)
            assert vm.job("c").wait() == "concluded"
            vm.cmd("job-dismiss", id="c")
        plain = {"driver": "raw", "node-name": "plain"}
        file = {"driver": "file", "filename": filename, "node-name": "file"}
        vm.cmd("blockdev-add", {**plain, "file": file})
        vm.cmd("object-add", qom_type="throttle-group", id="g")
        below = {"driver": "file", "filename": filename + "2"}
        inner = {"driver": "raw", "file": below}
        usual = {"driver": "throttle", "throttle-group": "g", "node-name": "usual"}
        vm.cmd("blockdev-add", {**usual, "file": inner})
        vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": self.path}})
        for name in ("plain", "usual"):
            vm.cmd("block-export-add", type="nbd", id=name, node_name=name, writable=True)

    def client(self, export: str = "plain", *, structured: bool = True) -> Client:
        self.clients.append(Client(self.path, export, structured=structured))
        return self.clients[-1]


@contextmanager
def world(folder: Path, storage: Literal["memory", "host"]) -> Iterator[World]:
    with qmpd.Machine(clock="real", storage=storage) as vm, vm.serve():
        made = World(vm, folder)
        yield made
        for client in made.clients:
            client.socket.close()


@pytest.fixture(params=["memory", "host"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, request.param) as made:
        yield made


def sequence(random: Random, count: int) -> bytes:
    """Requests of all kinds, valid ones and others.

    All may be under way at a time, so nothing is written where anything else is about.
    """
    data = b""
    for number in range(count):
        length = random.choice([512, 4 * KIB, 5000, 64 * KIB, 200 * KIB, 0])
        offset = random.choice([0, 512, 4 * KIB, 777, 1 << 20, SIZE - 4 * KIB])
        command = random.choice([Command.READ] * 4 + [Command.WRITE] * 3 + list(Command)[3:5])
        flags = random.choice([0, 0, 0, 0, 1, 4])
        if command in (Command.WRITE, Command.TRIM):
            offset = offset % (1 << 20) + (2 << 20)
        if command is Command.WRITE:
            data += request(command, offset, length, flags, number) + random.randbytes(length)
        elif command is Command.FLUSH:
            data += request(command, 0, 0, 0, number)
        else:
            data += request(command, offset, length, flags, number)
    return data


def replies(client: Client, data: bytes, pieces: Random) -> bytes:
    """All that is answered to requests that are sent in random pieces, then DISC."""

    def send() -> None:
        position = 0
        while position < len(data):
            size = pieces.choice([1, 27, 29, 4096, 100_000, 1_000_000])
            client.socket.sendall(data[position : position + size])
            position += size
        client.socket.sendall(request(Command.DISC, 0, 0))

    sender = threading.Thread(target=send)
    sender.start()
    answered = b""
    while more := client.socket.recv(1 << 16):
        answered += more
    sender.join()
    return answered


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("structured", [False, True])
def test_any_requests_have_the_same_answers(both: World, structured: bool, seed: int) -> None:
    data = sequence(Random(seed), 60)
    for name in ("plain", "usual"):
        both.client(name).write(0, Random(seed).randbytes(1 << 20))
    answers = [
        replies(both.client(name, structured=structured), data, Random(number))
        for number, name in enumerate(("plain", "usual"))
    ]
    assert answers[0] == answers[1]
    for offset in range(0, SIZE, 1 << 20):
        read = [both.client(name).read(offset, 1 << 20) for name in ("plain", "usual")]
        assert read[0] == read[1]


def test_writes_leave_what_writes_leave(both: World) -> None:
    vm = both.vm
    vm.cmd("block-dirty-bitmap-add", node="plain", name="top")
    vm.cmd("block-dirty-bitmap-add", node="file", name="below")
    vm.cmd("block-set-write-threshold", node_name="plain", write_threshold=1 << 20)
    client = both.client()
    client.write(64 * KIB, b"x" * 4096)
    client.write((1 << 20) - 4096, b"y" * 8192)
    event = vm.event_wait("BLOCK_WRITE_THRESHOLD")
    assert event is not None
    assert event["data"]["amount-exceeded"] == 4096
    extents = [(64 * KIB, 64 * KIB), ((1 << 20) - 64 * KIB, 128 * KIB)]
    assert vm.bitmap("plain", "top").extents == extents
    assert vm.bitmap("file", "below").extents == extents
    (stats,) = [
        s for s in vm.cmd("query-blockstats", query_nodes=True) if s["node-name"] == "plain"
    ]
    assert stats["stats"]["wr_highest_offset"] == (1 << 20) + 4096


def test_what_comes_between_is_seen(both: World) -> None:
    """Faults, filters and snapshots on a node whose client was served at once before."""
    vm, client = both.vm, both.client()
    client.write(0, b"1" * 4096)
    with vm.faults.fail("pread", node="plain", errno="EIO", count=1) as fault:
        client.socket.sendall(request(Command.READ, 0, 512, flags=4))
        _, _, kind, _, size = CHUNK.unpack(client.exactly(CHUNK.size))
        assert kind == ChunkType.ERROR
        client.exactly(size)
        assert fault.hits == 1
    assert client.read(0, 512) == b"1" * 512
    vm.cmd("blockdev-add", {"driver": "null-co", "size": SIZE, "node-name": "t"})
    backup: dict[str, Any] = {"device": "plain", "target": "t", "sync": "none"}
    vm.cmd("blockdev-backup", job_id="j", **backup)
    client.write(0, b"2" * 4096)
    progress = vm.job("j").progress
    assert progress is not None
    assert progress[0] > 0
    vm.cmd("block-job-cancel", device="j")
    assert client.read(0, 512) == b"2" * 512


def test_a_client_that_does_not_read_is_held_up_and_others_are_not(both: World) -> None:
    slow, other = both.client(), both.client()
    content = Random(1).randbytes(SIZE)
    for offset in range(0, SIZE, 1 << 20):
        other.write(offset, content[offset : offset + (1 << 20)])
    count = 40
    slow.socket.sendall(request(Command.READ, 0, 1 << 20) * count)
    assert other.read(4096, 8192) == content[4096:12288]
    assert both.vm.cmd("query-block-exports")
    for _ in range(count):
        assert slow.reply(0, 1 << 20) == content[: 1 << 20]


def test_many_clients_take_their_replies_late(both: World) -> None:
    """Requests that none of them has been answered for are kept, each client's for itself."""
    content = Random(2).randbytes(SIZE)
    clients = [both.client() for _ in range(8)]
    for offset in range(0, SIZE, 256 * KIB):
        clients[0].write(offset, content[offset : offset + 256 * KIB])
    lengths = [64 * KIB, 4 * KIB, 300 * KIB, 128 * KIB] * 12
    for place, client in enumerate(clients):
        offset = place * 512
        reads = b"".join(request(Command.READ, offset, length) for length in lengths)
        written = request(Command.WRITE, 3 << 20, 4 * KIB) + content[3 << 20 :][: 4 * KIB]
        client.socket.sendall(reads + written)
    for place, client in reversed(list(enumerate(clients))):
        offset = place * 512
        for length in lengths:
            assert client.reply(offset, length) == content[offset : offset + length]
        assert client.exactly(16) == DONE_REPLY


def test_long_writes_come_in_pieces(both: World) -> None:
    """Several at a time, of several lengths, and what is sent with them."""
    content = Random(3).randbytes(SIZE)
    client, data, offset = both.client(), b"", 0
    for length in [1 << 20, 1 << 20, 300 * KIB, 300 * KIB, 512, 700 * KIB, 4 * KIB]:
        data += request(Command.WRITE, offset, length) + content[offset : offset + length]
        offset += length
    client.socket.sendall(data + request(Command.READ, 0, 1 << 20))
    assert client.exactly(16 * 7) == DONE_REPLY * 7
    assert client.reply(0, 1 << 20) == content[: 1 << 20]
    for begin in range(0, offset, 512 * KIB):
        length = min(512 * KIB, offset - begin)
        assert client.read(begin, length) == content[begin : begin + length]


def test_a_client_may_leave_within_a_request(both: World) -> None:
    client = both.client()
    client.write(0, b"0" * 512)
    client.socket.sendall(request(Command.WRITE, 0, 512) + b"1" * 511)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.socket.recv(1) == b""
    assert both.client().read(0, 512) == b"0" * 512


def test_a_sparse_image_has_holes(both: World) -> None:
    client = both.client()
    for offset in (64 * KIB, 192 * KIB):
        client.write(offset, b"d" * 64 * KIB)
    client.socket.sendall(request(Command.READ, 32 * KIB, 256 * KIB))
    kinds = []
    last = 0
    while not last:
        _, last, kind, _, size = CHUNK.unpack(client.exactly(CHUNK.size))
        client.exactly(size)
        kinds.append(ChunkType(kind))
    hole, data = ChunkType.OFFSET_HOLE, ChunkType.OFFSET_DATA
    assert kinds == [hole, data, hole, data, hole]


def test_an_image_that_ends_within_a_sector(tmp_path: Path) -> None:
    """The node ends with a whole sector: what the file lacks is zeroes."""
    with world(tmp_path, "host") as made:
        odd = tmp_path / "odd"
        odd.write_bytes(b"o" * 70_000)
        file = {"driver": "file", "filename": str(odd)}
        made.vm.cmd("blockdev-add", {"driver": "raw", "node-name": "odd", "file": file})
        made.vm.cmd("block-export-add", type="nbd", id="odd", node_name="odd")
        length = -(-70_000 // 512) * 512
        expected = b"o" * 70_000 + bytes(length - 70_000)
        assert made.client("odd").read(0, length) == expected
        assert made.client("odd").read(65536, length - 65536) == expected[65536:]
        simple = made.client("odd", structured=False)
        simple.socket.sendall(request(Command.READ, 0, length))
        assert simple.exactly(16 + length) == DONE_REPLY + expected
