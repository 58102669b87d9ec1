"""What is measured of NBD exports: reads, writes and block status, beside QEMU's, in turn.

Both programs run at the same time, and each figure is taken in short rounds of one after the
other: what else the machine does meanwhile meets both.  The ratio is the median of the ratios of
the rounds.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from benchmarks.daemon import Daemon, storage_daemons
from benchmarks.images import new_image
from benchmarks.nbd_client import (
    DATA_HEAD,
    WRITE_REPLY,
    Connection,
    rate,
    requests,
)
from benchmarks.priority import prioritized
from benchmarks.report import Report
from qmpd.block.drivers.protocols.nbd.protocol import REQUEST, REQUEST_MAGIC, Command

MIB: Final = 1 << 20
AREA: Final = 64 * MIB
EXTENTS: Final = 10_000
STEP: Final = 65536
"""Bytes of each extent."""
SIZES: Final = (4096, 65536, MIB)
DEPTHS: Final = (1, 16)
CONNECTIONS: Final = (1, 8)
ROUNDS: Final = 7
SECONDS: Final = 0.15


class Row(NamedTuple):
    """One figure of the two programs.

    :param measure: returns how many of `unit` a program does in a second
    """

    name: str
    unit: str
    measure: Callable[[Server], float]
    target: float = 1.0


class Server:
    """A storage daemon that exports node ``n0`` by NBD.

    :param driver: of the image
    :param size: of the image, bytes
    """

    def __init__(self, daemon: Daemon, driver: str, size: int) -> None:
        self._daemon = daemon
        self._connections: list[Connection] = []
        self._path = f"{daemon.folder}/nbd.sock"
        address = {"type": "unix", "data": {"path": self._path}}
        daemon.execute("nbd-server-start", addr=address, **{"max-connections": 0})
        daemon.execute("blockdev-add", **new_image(daemon, "disk", size, driver))
        export = {"type": "nbd", "id": "e", "node-name": "n0", "name": "e", "writable": True}
        daemon.execute("block-export-add", **export)

    def connect(self, count: int) -> list[Connection]:
        """So many connections."""
        while len(self._connections) < count:
            self._connections.append(Connection(self._path, "e"))
        return self._connections[:count]

    def fill(self) -> None:
        """Let the area hold data no two pages of which are the same."""
        payload = os.urandom(MIB)
        self.write(range(0, AREA, MIB), payload)

    def write(self, offsets: range, payload: bytes) -> None:
        """Write the same at many places."""
        (connection,) = self.connect(1)
        connection.socket.setblocking(True)
        for offset in offsets:
            head = REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 7, offset, len(payload))
            connection.socket.sendall(head + payload)
            connection.exactly(WRITE_REPLY)

    def close(self) -> None:
        """Leave it."""
        for connection in self._connections:
            connection.close()


def _reads(size: int, depth: int, count: int) -> Callable[[Server], float]:
    stream = requests(Command.READ, size, AREA)

    def run(server: Server) -> float:
        lanes = server.connect(count)
        reply = size + DATA_HEAD
        return rate(lanes, stream, REQUEST.size, reply, depth=depth, seconds=SECONDS)

    return run


def _writes(size: int, depth: int, count: int) -> Callable[[Server], float]:
    payload = os.urandom(size)
    # of long requests only a few, so that they need not all be kept
    stream = requests(Command.WRITE, size, min(AREA, 32 * size if size >= MIB else AREA), payload)

    def run(server: Server) -> float:
        lanes = server.connect(count)
        unit = REQUEST.size + size
        return rate(lanes, stream, unit, WRITE_REPLY, depth=depth, seconds=SECONDS)

    return run


def _status(server: Server) -> float:
    """Answers a second to what all of the image holds."""
    (connection,) = server.connect(1)
    sock = connection.socket
    sock.setblocking(True)
    head = REQUEST.pack(REQUEST_MAGIC, 0, Command.BLOCK_STATUS, 7, 0, EXTENTS * STEP)
    count, began = 0, time.perf_counter()
    until = began + SECONDS
    while not count or time.perf_counter() < until:
        sock.sendall(head)
        reply = connection.exactly(20)
        length = int.from_bytes(reply[16:], "big")
        connection.exactly(length)
        assert length == 4 + 8 * EXTENTS, length
        count += 1
    return count / (time.perf_counter() - began)


def _name(size: int) -> str:
    return f"{size >> 10} KiB" if size < MIB else f"{size >> 20} MiB"


def rows(where: str) -> list[Row]:
    """The rows of reads and writes."""
    found = []
    for what, make in (("read", _reads), ("write", _writes)):
        for size, depth, count in itertools.product(SIZES, DEPTHS, CONNECTIONS):
            name = f"NBD {what} {_name(size)}, depth {depth}, {count} conn, {where}"
            found.append(Row(name, "1/s", make(size, depth, count)))
    return found


@contextmanager
def _servers(driver: str, size: int, *, in_memory: bool) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        servers = {}
        for name, command in storage_daemons().items():
            daemon = stack.enter_context(Daemon(command, in_memory=in_memory, first=True))
            servers[name] = Server(daemon, driver, size)
            stack.callback(servers[name].close)
        yield servers


def _compare(row: Row, servers: dict[str, Server], report: Report) -> None:
    """Measure a row."""
    figures: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(3 if report.quick else ROUNDS):
        for name, server in servers.items():
            with prioritized():
                figures[name].append(row.measure(server))
    ours, real = statistics.median(figures["qmpd"]), None
    ratio = None
    if "QEMU" in figures:
        real = statistics.median(figures["QEMU"])
        pairs = zip(figures["qmpd"], figures["QEMU"], strict=True)
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    report.add(row.name, row.unit, ours, real, ratio=ratio, target=row.target, more_is_better=True)


def run(report: Report) -> None:
    """Measure what is wanted."""
    for where in ("host", "memory"):
        wanted = [row for row in rows(where) if report.wants(row.name)]
        if wanted:
            with _servers("raw", AREA, in_memory=where == "memory") as servers:
                for server in servers.values():
                    server.fill()
                for row in wanted:
                    _compare(row, servers, report)
        for driver in ("raw", "qcow2"):
            row = Row(f"NBD status of {EXTENTS} extents, {driver}, {where}", "1/s", _status)
            if report.wants(row.name):
                with _servers(driver, EXTENTS * STEP, in_memory=where == "memory") as servers:
                    for server in servers.values():
                        server.write(range(0, EXTENTS * STEP, 2 * STEP), os.urandom(STEP))
                    _compare(row, servers, report)
