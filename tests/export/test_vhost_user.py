"""Exports of type vhost-user-blk: the same client at qmpd and at QEMU's daemon."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.export import vhost_client as vhost
from tests.export.vhost_client import (
    DISCARD,
    FLUSH,
    IN,
    OUT,
    WRITE_ZEROES,
    Refused,
    area,
)
from tests.export.vhost_pair import SECTOR, SIZE, Exporter, running, same

POSTCOPY = 1 << 8
"""The one protocol feature that qmpd does not offer: postcopy migration."""


@pytest.fixture
def exporters(tmp_path: Path) -> Iterator[list[Exporter]]:
    with running(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"writable": False},
        {"num_queues": 4, "logical_block_size": 4096},
        {"writethrough": True, "num_queues": 65535, "logical_block_size": 2 << 20},
    ],
    ids=["plain", "read-only", "queues", "extremes"],
)
def test_what_clients_are_told(exporters: list[Exporter], options: dict[str, Any]) -> None:
    def told(exporter: Exporter) -> list[Any]:
        exporter.export(**options)
        client = exporter.connect()
        return [
            client.ask(vhost.GET_FEATURES),
            client.number(vhost.GET_PROTOCOL_FEATURES) & ~POSTCOPY,
            client.ask(vhost.GET_QUEUE_NUM),
            client.ask(vhost.GET_MAX_MEM_SLOTS),
            *(client.ask(vhost.GET_CONFIG, part) for part in PARTS),
        ]

    answers = same(exporters, told)
    config = struct.unpack_from("<QII", answers[5].payload, 12)
    assert config == (SIZE // SECTOR, 0, 126)


PARTS = [
    struct.pack("<III", offset, size, 0) + bytes(space)
    for offset, size, space in (
        *((0, 8, 8), (0, 60, 60), (0, 96, 96), (0, 97, 97), (0, 256, 256), (24, 8, 8)),
        *((0, 60, 8), (0, 8, 60), (5000, 1, 1), (0, 0, 0)),
    )
]


def test_several_queues(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> bytes:
        exporter.export(num_queues=3)
        client = exporter.start(queues=3)
        for turn in range(12):
            written = client.request(OUT, turn, bytes([turn + 1]) * SECTOR, queue=turn % 3)
            assert written.status == 0
        return client.request(IN, 0, length=12 * SECTOR, queue=1).data

    data = same(exporters, work)
    assert data[::SECTOR] == bytes(range(1, 13))


def test_many_requests_at_once(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> set[int]:
        exporter.export()
        client = exporter.start(size=64)
        ring = client.rings[0]
        for number in range(21):
            at = vhost.DATA + number * 1024
            header = struct.pack("<IIQ", OUT, 0, number)
            client.memory[at : at + 528] = header + bytes([number + 1]) * SECTOR
            ring.put(3 * number, at, 16, vhost.NEXT, 3 * number + 1)
            ring.put(3 * number + 1, at + 16, SECTOR, vhost.NEXT, 3 * number + 2)
            ring.put(3 * number + 2, at + 1000, 1, vhost.WRITE)
            ring.offer(3 * number)
        ring.ring()
        return {head for head, _ in client.await_used(ring, 21)}

    heads = same(exporters, work)
    assert heads == set(range(0, 63, 3))
    contents = same(exporters, lambda e: e.image.read_bytes())
    assert contents[: 21 * SECTOR : SECTOR] == bytes(range(1, 22))


def test_indices_that_wrap_and_events(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> list[Any]:
        exporter.export()
        client = exporter.connect()
        client.start(0, features=client.number(vhost.GET_FEATURES) & ~(1 << 24))
        ring = client.start_queue(0, 8, base=65530)
        seen: list[Any] = []
        for turn in range(20):
            ring.want_event(ring.next)
            done = client.request(OUT, turn, bytes([turn]) * SECTOR)
            seen.append((done, ring.used_index, ring.avail_event))
        # An event that lies ahead: it comes with the second of two.
        ring.want_event(ring.next + 1)
        for _ in range(2):
            ring.offer(0)
        ring.ring()
        client.await_used(ring, 2)
        seen.append((ring.used_index, ring.avail_event))
        base = client.ask(vhost.GET_VRING_BASE, struct.pack("<II", 0, 0)).payload
        return [*seen, base]

    same(exporters, work)


def test_the_write_cache(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> list[bytes]:
        exporter.export()
        client = exporter.start()
        seen = [client.config()]
        for value in (1, 0, 7):
            client.set_write_cache(value)
            client.request(OUT, 0, b"w" * SECTOR)
            seen.append(client.config())
        exporter.leave()
        return [*seen, exporter.connect().config()]

    same(exporters, work)


def test_guest_writes_are_dirty(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> Any:
        exporter.do("block-dirty-bitmap-add", node="n", name="b", granularity=512)
        exporter.export()
        client = exporter.start()
        client.request(OUT, 4, b"d" * 1024)
        client.request(WRITE_ZEROES, 0, area(100, 3, 0))
        client.request(DISCARD, 0, area(200, 8, 0))
        client.request(IN, 0, length=4096)
        [node] = [n for n in exporter.do("query-named-block-nodes") if n["node-name"] == "n"]
        return [
            exporter.do("x-debug-block-dirty-bitmap-sha256", node="n", name="b"),
            node["dirty-bitmaps"],
        ]

    assert same(exporters, work)[1][0]["count"] == 13 * SECTOR


def test_a_filter_below_sees_guest_writes(exporters: list[Exporter]) -> None:
    """What a fleecing set-up does: the old data goes to the target before it is overwritten."""

    def work(exporter: Exporter) -> tuple[Any, bytes]:
        target = exporter.folder / "target.raw"
        target.write_bytes(bytes(SIZE))
        exporter.image.write_bytes(b"old!" * (SIZE // 4))
        file = {"driver": "file", "filename": str(target)}
        exporter.do("blockdev-add", driver="raw", node_name="t", file=file)
        cbw = {"driver": "copy-before-write", "node_name": "cbw", "file": "n", "target": "t"}
        said = exporter.do("blockdev-add", **cbw)
        exporter.export(node_name="cbw")
        client = exporter.start()
        assert client.request(OUT, 128, b"new!" * 128).status == 0
        return said, target.read_bytes()

    _, target = same(exporters, work)
    assert target[128 * SECTOR :][:8] == b"old!old!"


def test_a_snapshot_below_a_client(exporters: list[Exporter]) -> None:
    """What is written after it goes to the overlay, without the client's knowing."""

    def work(exporter: Exporter) -> list[Any]:
        overlay = str(exporter.folder / "overlay.qcow2")
        exporter.export()
        client = exporter.start()
        done = [client.request(OUT, 0, b"base" * 256)]
        snapshot = {"node_name": "n", "snapshot_file": overlay, "snapshot_node_name": "o"}
        said = exporter.do("blockdev-snapshot-sync", **snapshot)
        done += [client.request(OUT, 1, b"over" * 128), client.request(IN, 0, length=1536)]
        names = [one["node-name"] for one in exporter.do("query-block-exports")]
        return [said, done, names, exporter.image.read_bytes()[:1536]]

    _, done, names, base = same(exporters, work)
    assert done[-1].data == b"base" * 128 + b"over" * 128 + bytes(512)
    assert base == b"base" * 256 + bytes(512)
    assert names == ["o"]


def test_errors_of_the_node(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> list[Any]:
        rules = [
            {"event": "none", "iotype": "read", "errno": 5, "sector": 0, "once": False},
            {"event": "none", "iotype": "write", "errno": 28, "sector": 8, "once": True},
            {"event": "none", "iotype": "flush", "errno": 5, "once": True},
        ]
        debug = {"driver": "blkdebug", "node_name": "d", "image": "n", "inject_error": rules}
        exporter.do("blockdev-add", **{k.replace("_", "-"): v for k, v in debug.items()})
        exporter.export(node_name="d")
        client = exporter.start()
        return [
            client.request(IN, 0, length=512)[0::2],
            client.request(IN, 1, length=512)[0::2],
            client.request(OUT, 8, bytes(512)),
            client.request(OUT, 8, bytes(512)),
            client.request(FLUSH),
            client.request(FLUSH),
        ]

    answers = same(exporters, work)
    assert [one[0] for one in answers] == [1, 0, 1, 0, 1, 0]


def test_deleting_an_export_in_use(exporters: list[Exporter]) -> None:
    for mode in ("safe", "hard"):

        def work(exporter: Exporter, mode: str = mode) -> list[Any]:
            exporter.export()
            client = exporter.start()
            client.request(OUT, 0, b"1" * SECTOR)
            answers = exporter.program.execute(
                {"execute": "block-export-del", "arguments": {"id": "v", "mode": mode}}
            )
            for answer in answers:
                answer.pop("timestamp", None)
            socket_file = exporter.folder / "v.sock"
            return [
                answers,
                client.gone(),
                socket_file.exists(),
                exporter.do("query-block-exports"),
            ]

        answers = same(exporters, work)
        assert answers[1:] == [True, False, []]


def test_requests_that_wait_for_a_throttle(exporters: list[Exporter]) -> None:
    """An export that goes lets them come to their end, and with them their writes."""

    def work(exporter: Exporter) -> list[Any]:
        limits = {"iops-total": 10}
        exporter.do("object-add", qom_type="throttle-group", id="g", limits=limits)
        filter_node = {"driver": "throttle", "throttle-group": "g", "file": "n"}
        exporter.do("blockdev-add", node_name="t", **filter_node)
        exporter.export(node_name="t")
        client = exporter.start()
        ring = client.rings[0]
        for number in range(6):
            at = vhost.DATA + number * 1024
            client.memory[at : at + 528] = struct.pack("<IIQ", OUT, 0, number) + b"t" * SECTOR
            ring.put(2 * number, at, 528, vhost.NEXT, 2 * number + 1)
            ring.put(2 * number + 1, at + 1000, 1, vhost.WRITE)
            ring.offer(2 * number)
        ring.ring()
        client.await_used(ring, 1)
        deleted = exporter.do("block-export-del", id="v")
        return [deleted, client.gone(), exporter.image.read_bytes()[:4096]]

    content = same(exporters, work)[2]
    assert content == b"t" * 3072 + bytes(1024)


def test_one_client_at_a_time(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> bytes:
        exporter.export()
        first = exporter.start()
        second = exporter.connect()
        second.send(vhost.GET_QUEUE_NUM)
        second.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            second.receive()
        second.socket.settimeout(20)
        exporter.clients.remove(first)
        first.close()
        return second.receive().payload

    same(exporters, work)


def test_the_capacity_of_a_node_that_grows(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> tuple[bytes, bytes]:
        exporter.export()
        client = exporter.start()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(20)
            client.tell(21, b"", [theirs.fileno()])  # SET_BACKEND_REQ_FD
            exporter.do("block_resize", node_name="n", size=2 * SIZE)
            told = ours.recv(100)
        assert client.request(OUT, SIZE // SECTOR, b"far!" * 128).status == 0
        return told, client.config()

    _, config = same(exporters, work)
    assert struct.unpack_from("<Q", config) == (2 * SIZE // SECTOR,)


def test_regions_one_by_one(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> list[Any]:
        exporter.export()
        client = exporter.connect()
        client.start(0)
        client.tell(vhost.SET_MEM_TABLE, struct.pack("<II", 0, 0))
        for region in client.regions():
            payload = bytes(8) + struct.pack("<QQQQ", *region)
            client.tell(vhost.ADD_MEM_REG, payload, [client.fd])
        client.start_queue(0, 16)
        done = [client.request(OUT, 1, b"r" * SECTOR), client.request(IN, 1, length=SECTOR)]
        payload = bytes(8) + struct.pack("<QQQQ", *client.regions()[1])
        client.tell(vhost.REM_MEM_REG, payload)
        return [*done, client.request(IN, 0, length=1024)]

    same(exporters, work)


def test_a_buffer_in_two_regions(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> list[tuple[int, int]]:
        exporter.export()
        client = exporter.start()
        ring, middle = client.rings[0], client.size // 2
        client.memory[vhost.DATA : vhost.DATA + 16] = struct.pack("<IIQ", OUT, 0, 5)
        client.memory[middle - 512 : middle + 512] = b"m" * 512 + b"n" * 512
        ring.put(0, vhost.DATA, 16, vhost.NEXT, 1)
        ring.put(1, middle - 512, 1024, vhost.NEXT, 2)
        ring.put(2, vhost.DATA + 100, 1, vhost.WRITE)
        ring.offer(0)
        ring.ring()
        used = client.await_used(ring, 1)
        assert client.memory[vhost.DATA + 100] == 0
        return used

    same(exporters, work)
    contents = same(exporters, lambda e: e.image.read_bytes())
    assert contents[5 * SECTOR : 7 * SECTOR] == b"m" * 512 + b"n" * 512


def test_the_log_of_written_pages(exporters: list[Exporter]) -> None:
    def work(exporter: Exporter) -> bytes:
        exporter.export()
        client = exporter.connect()
        client.start(1)
        fd = os.memfd_create("log")
        os.ftruncate(fd, 4096)
        client.ask(6, struct.pack("<QQ", 4096, 0), [fd])  # SET_LOG_BASE
        features = client.features | 1 << 26
        client.tell(vhost.SET_FEATURES, struct.pack("<Q", features))
        client.request(IN, 0, length=8192)
        client.request(OUT, 0, bytes(8192))
        log = os.pread(fd, 4096, 0)
        os.close(fd)
        return log

    log = int.from_bytes(same(exporters, work), "little")
    pages = {page for page in range(2048) if log >> page & 1}
    # the used ring (whose address for the log is 0), and what was read behind the header
    first = vhost.DATA // 4096
    assert pages == {0, first, first + 1, first + 2}


def test_from_the_command_line(tmp_path: Path) -> None:
    options = "vhost-user-blk,id=v,node-name=n,writable=on,num-queues=2,logical-block-size=4k"
    export = f"{options},addr.type=unix,addr.path=@/v.sock"
    with running(tmp_path, "--export", export) as exporters:

        def work(exporter: Exporter) -> list[Any]:
            client = exporter.start(queues=2)
            return [client.config(), client.request(OUT, 8, b"c" * 4096, queue=1)]

        same(exporters, work)


LISTENING = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.dup2(listener.fileno(), 9, inheritable=True)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Runs a program with a bound socket as descriptor 9."""


def test_an_inherited_socket(tmp_path: Path) -> None:
    options = "vhost-user-blk,id=v,node-name=n,addr.type=fd,addr.str=9"
    wrapper = [sys.executable, "-c", LISTENING, "@/v.sock"]
    with running(tmp_path, "--export", options, wrapper=wrapper) as exporters:

        def work(exporter: Exporter) -> list[Any]:
            done = exporter.start().request(IN, 0, length=SECTOR)
            exporter.leave()
            deleted = exporter.do("block-export-del", id="v")
            return [done, deleted, (exporter.folder / "v.sock").exists()]

        same(exporters, work)


@pytest.mark.parametrize("how", ["quit", "signal"])
def test_everything_is_given_back(exporters: list[Exporter], how: str) -> None:
    def work(exporter: Exporter) -> list[Any]:
        exporter.export()
        client = exporter.start()
        client.request(OUT, 0, b"q" * SECTOR)
        process = exporter.program.process
        if how == "quit":
            exporter.program.send(b'{"execute": "quit"}\n')
        else:
            process.terminate()
        status = process.wait(20)
        return [status, client.gone(), (exporter.folder / "v.sock").exists()]

    assert same(exporters, work) == [0, True, False]


def test_no_descriptor_stays(tmp_path: Path) -> None:
    with running(tmp_path) as exporters:
        exporter = exporters[0]
        listing = Path(f"/proc/{exporter.program.process.pid}/fd")
        maps = Path(f"/proc/{exporter.program.process.pid}/maps")
        exporter.export()
        counts = []
        for _ in range(4):
            client = exporter.start()
            client.request(OUT, 0, b"q" * SECTOR)
            during = len(list(listing.iterdir()))
            exporter.leave()
            # The next connection is accepted only once the one before is gone.
            probe = exporter.connect()
            probe.config()
            assert "memfd:guest" not in maps.read_text()
            counts.append((during, len(list(listing.iterdir()))))
            exporter.leave()
        assert len(set(counts)) == 1
        exporter.do("block-export-del", id="v")


def test_refusal_is_an_exception(exporters: list[Exporter]) -> None:
    """That a client sees its end is what the tests of malformed input stand on."""
    for exporter in exporters:
        exporter.export()
        client = exporter.connect()
        client.tell(99)
        with pytest.raises(Refused):
            client.number(vhost.GET_FEATURES)
