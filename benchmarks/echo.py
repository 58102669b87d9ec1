"""A request beside the least that a program on the same event loop takes for the same bytes."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.daemon import Daemon, request, storage_daemons
from benchmarks.priority import prioritized, raise_priority
from benchmarks.report import Report

NAME: Final = "query-version, p50, beside a bare echo"
COUNT: Final = 3000
ROUNDS: Final = 5
LIMIT: Final = 1.2

_ECHO: Final = """
import asyncio, sys, uvloop
path, answer = sys.argv[1], bytes.fromhex(sys.argv[2])

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(answer)

async def main():
    server = await asyncio.get_running_loop().create_unix_server(Echo, path)
    print("ready", flush=True)
    await server.serve_forever()

uvloop.run(main())
"""
"""Answers whatever comes with the same bytes."""


def _ask(sock: socket.socket, asked: bytes, length: int) -> float:
    """The median time of a request, microseconds."""
    times = []
    for _ in range(COUNT):
        began = time.perf_counter()
        sock.sendall(asked)
        received = 0
        while received < length:
            received += len(sock.recv(65536))
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


@contextmanager
def _two_cpus(*servers: int) -> Iterator[None]:
    """Inside the block the client has one CPU, and the servers share another.

    Left to the scheduler, the client and the echo share a CPU in some runs and not in others, which
    makes a difference of three to one.

    :param servers: their process ids
    """
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    for server in servers:
        os.sched_setaffinity(server, others[:1] or before)
    os.sched_setaffinity(0, {first})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(report: Report) -> None:
    """Measure it, if it is wanted: the ratio is to the echo, not to QEMU."""
    if not report.wants(NAME):
        return
    asked = request("query-version")
    with (
        Daemon(storage_daemons()["qmpd"], first=True) as daemon,
        tempfile.TemporaryDirectory() as at,
    ):
        daemon.answer(asked)
        answer = daemon.raw(asked)
        argv = [sys.executable, "-c", _ECHO, f"{at}/s", answer.hex()]
        with (
            subprocess.Popen(argv, stdout=subprocess.PIPE, preexec_fn=raise_priority) as echo,
            socket.socket(socket.AF_UNIX) as sock,
        ):
            assert echo.stdout is not None
            echo.stdout.readline()
            sock.connect(f"{at}/s")
            ours, bare = [], []
            with _two_cpus(daemon.process.pid, echo.pid):
                for _ in range(ROUNDS):
                    with prioritized():
                        ours.append(_ask(daemon.socket, asked, len(answer)))
                        bare.append(_ask(sock, asked, len(answer)))
            echo.terminate()
    pairs = zip(ours, bare, strict=True)
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    report.add(NAME, "us", statistics.median(ours), ratio=ratio, target=LIMIT)
