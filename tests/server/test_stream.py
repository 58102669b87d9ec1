"""Streams: input of every kind, pauses, hang-ups, output that does not fit."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmpd.server.chardev.output import HIGH_WATER
from qmpd.server.chardev.stream import CHUNK, GIVES_WAY, Stream


class Others:
    """What else the loop is needed for."""

    def __init__(self, may_linger: bool) -> None:
        self._may_linger = may_linger
        self.arrivals = 0

    def may_linger(self) -> bool:
        return self._may_linger


class User:
    def __init__(self) -> None:
        self.data = b""
        self.ended = 0
        self.drained = 0

    def stream_received(self, data: bytes) -> None:
        self.data += data

    def stream_handed_over(self, descriptors: list[int]) -> None:
        raise AssertionError(descriptors)

    def stream_ended(self) -> None:
        self.ended += 1

    def stream_drained(self) -> None:
        self.drained += 1


class Pair:
    def __init__(self) -> None:
        self.user = User()
        own, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        loop = asyncio.get_running_loop()
        self.stream = Stream(loop, own.fileno(), own.fileno(), self.user, own.close)
        self.stream.start()


@pytest.fixture
async def pair() -> Iterator[Pair]:  # type: ignore[misc]
    result = Pair()
    yield result
    result.stream.close()
    result.peer.close()


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_input_and_end(pair: Pair) -> None:
    pair.peer.send(b"abc")
    await until(lambda: pair.user.data == b"abc")
    pair.peer.close()
    await until(lambda: pair.user.ended == 1)


async def test_paused_input_is_held_and_comes_in_order(pair: Pair) -> None:
    pair.stream.pause()
    pair.peer.send(b"one ")
    for _ in range(10):
        await asyncio.sleep(0)
    assert pair.user.data == b""
    pair.stream.resume()
    pair.peer.send(b"two")
    await until(lambda: pair.user.data == b"one two")


async def test_what_is_held_comes_before_what_comes_in_the_moment_of_resume(pair: Pair) -> None:
    loop = asyncio.get_running_loop()
    bell, ringer = socket.socketpair()
    pair.stream.pause()
    pair.peer.send(b"one ")
    for _ in range(10):
        await asyncio.sleep(0)

    def resume() -> None:
        bell.recv(1)
        pair.stream.resume()

    loop.add_reader(bell.fileno(), resume)
    # both are readable in the same round
    ringer.send(b"!")
    pair.peer.send(b"two")
    await until(lambda: len(pair.user.data) == 7)
    assert pair.user.data == b"one two"
    loop.remove_reader(bell.fileno())
    bell.close()
    ringer.close()


async def test_reading_stops_when_a_chunk_is_held(pair: Pair) -> None:
    pair.stream.pause()
    sent = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012
        for _ in range(10_000):
            sent += pair.peer.send(b"x" * 4096)
            await asyncio.sleep(0)
    assert sent < 10_000 * 4096
    pair.stream.resume()
    await until(lambda: len(pair.user.data) == sent)
    assert len(pair.user.data) > CHUNK


async def test_hang_up_is_noticed_while_paused(pair: Pair) -> None:
    pair.stream.pause()
    pair.peer.send(b"never read")
    pair.peer.close()
    await until(lambda: pair.user.ended == 1)
    assert pair.user.data == b""


async def test_half_close_waits_for_what_is_held(pair: Pair) -> None:
    pair.stream.pause()
    pair.peer.send(b"last words")
    pair.peer.shutdown(socket.SHUT_WR)
    for _ in range(10):
        await asyncio.sleep(0)
    assert pair.user.ended == 0
    pair.stream.resume()
    await until(lambda: pair.user.ended == 1)
    assert pair.user.data == b"last words"


async def test_output_that_does_not_fit_goes_out_later(pair: Pair) -> None:
    data = os.urandom(1 << 20) * 2
    pair.stream.write(data)
    pair.stream.write(b"end")
    assert pair.stream.congested
    assert pair.stream.backlog > HIGH_WATER
    received = b""
    while len(received) < len(data) + 3:
        await asyncio.sleep(0)
        try:
            received += pair.peer.recv(1 << 16)
        except BlockingIOError:
            continue
    assert received == data + b"end"
    assert pair.user.drained == 1
    assert not pair.stream.congested


async def test_writing_to_one_that_has_gone_ends_the_stream(pair: Pair) -> None:
    pair.stream.pause()
    pair.peer.close()
    pair.stream.write(b"x")
    assert pair.user.ended == 0
    await until(lambda: pair.user.ended == 1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert pair.user.ended == 1


@pytest.mark.parametrize("size", [0, 5, 3 * CHUNK])
async def test_regular_file_as_input(tmp_path: Path, size: int) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"z" * size)
    user = User()
    source = os.open(path, os.O_RDONLY)
    sink = os.open("/dev/null", os.O_WRONLY)
    stream = Stream(asyncio.get_running_loop(), source, sink, user, lambda: None)
    stream.start()
    await until(lambda: user.ended == 1)
    assert len(user.data) == size
    stream.close()
    os.close(source)
    os.close(sink)


async def test_closing_waits_for_the_reader_as_told() -> None:
    pair = Pair()
    pair.stream.write(b"x" * (1 << 20))
    loop = asyncio.get_running_loop()

    def read_all() -> int:
        pair.peer.setblocking(True)
        return sum(iter(lambda: len(pair.peer.recv(1 << 16)), 0))

    reading = loop.run_in_executor(None, read_all)
    pair.stream.close(flush_seconds=10)
    assert await reading == 1 << 20
    pair.peer.close()


@pytest.mark.parametrize("may_linger", [True, False])
async def test_quick_peer_is_served_without_going_to_sleep(may_linger: bool) -> None:
    class Echo(User):
        def stream_received(self, data: bytes) -> None:
            super().stream_received(data)
            if len(self.data) < 5:
                peer.send(b"x")

    user = Echo()
    own, peer = socket.socketpair()
    loop = asyncio.get_running_loop()
    stream = Stream(loop, own.fileno(), own.fileno(), user, own.close, Others(may_linger))
    stream._quick = True
    turns = list[bytes]()
    stream.start()
    peer.send(b"x")
    async with asyncio.timeout(10):
        while len(user.data) < 5:
            turns.append(user.data)
            await asyncio.sleep(0)
    assert (b"xx" in turns) is not may_linger
    assert not stream._quick or not may_linger
    stream.close()
    peer.close()


@pytest.mark.parametrize("busy", [True, False])
async def test_gives_way_to_who_uses_an_export(busy: bool) -> None:
    others = Others(may_linger=False)
    loop = asyncio.get_running_loop()
    arrived = list[float]()

    class Client(User):
        def stream_received(self, data: bytes) -> None:
            super().stream_received(data)
            arrived.append(time.monotonic())
            others.arrivals += busy
            peer.send(b"x")

    user = Client()
    own, peer = socket.socketpair()
    stream = Stream(loop, own.fileno(), own.fileno(), user, own.close, others)
    stream.start()
    peer.send(b"x")
    async with asyncio.timeout(10):
        while len(arrived) < 20:
            others.arrivals += busy
            await asyncio.sleep(0)
    gaps = [later - before for before, later in itertools.pairwise(arrived)]
    assert not busy or min(gaps) >= GIVES_WAY
    stream.close()
    peer.close()
