"""NBD clients inside the process, on a clock that the test moves: no sockets, no event loop."""

from __future__ import annotations

import gc
import struct
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.drivers.protocols.nbd.protocol import (
    FIXED_NEWSTYLE,
    MAGIC,
    NO_ZEROES,
    OPTION_HEADER,
    OPTION_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    Command,
    Option,
)
from qmpd.export.host import Listener
from qmpd.loop.clock import NANOSECONDS, VirtualClock
from qmpd.loop.stream import FAIR, READ_AHEAD, Connect, Connection
from qmpd.machine.host import NoHost
from tests.support.services import bare_machine

GREETING = 18
"""Bytes that a server says first."""


class Place:
    """A listener that counts."""

    def __init__(self) -> None:
        self.open = self.exists = True

    def pause(self) -> None:
        self.open = False

    def resume(self) -> None:
        self.open = True

    def close(self) -> None:
        self.exists = False

    def end(self) -> None:
        self.exists = False


class ListeningHost(NoHost):
    """A host whose clients come from the test."""

    def __init__(self) -> None:
        self.place = Place()
        self.arrive: Connect

    def listen(self, address: Mapping[str, Any], connect: Connect) -> Listener:
        self.arrive = connect
        return self.place


class Client:
    """A client; `congested` while the test says so."""

    def __init__(self, host: ListeningHost) -> None:
        self.congested = False
        self.paused = False
        self.cut = False
        self.out = b""
        self.connection: Connection = host.arrive(self)

    def write(self, data: bytes) -> None:
        self.out += data

    def pause_input(self) -> None:
        self.paused = True

    def resume_input(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.cut = True

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out

    def choose(self, name: bytes = b"e") -> bytes:
        """Choose an export in the oldest way; the answer."""
        assert self.take()[:16] == MAGIC + OPTION_MAGIC
        self.connection.feed(struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES))
        header = OPTION_HEADER.pack(OPTION_MAGIC, Option.EXPORT_NAME, len(name))
        self.connection.feed(header + name)
        return self.take()

    def ask(self, command: Command, offset: int, length: int, data: bytes = b"") -> None:
        request = REQUEST.pack(REQUEST_MAGIC, 0, command, 7, offset, length)
        self.connection.feed(request + data)


class World:
    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.host = ListeningHost()
        self.machine = bare_machine(self.clock, host=self.host)
        node = {"driver": "null-co", "node-name": "n", "size": 1 << 20, "read-zeroes": True}
        self.node = self.clock.run(blockdev_add(self.machine.graph, node))
        self.machine.nbd.start({"addr": {"type": "unix", "path": "/x"}, **options})
        self.export()

    def export(self) -> None:
        from qmpd.export.add import add_export

        options = {"type": "nbd", "id": "e", "name": "e", "node-name": "n", "writable": True}
        self.clock.run(add_export(self.machine, options))

    def client(self) -> Client:
        return Client(self.host)

    def served(self) -> Client:
        client = self.client()
        client.choose()
        return client


DONE = SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, 7)


def test_a_client_reads_and_writes() -> None:
    world = World()
    client = world.client()
    assert struct.unpack(">Q", client.choose()[:8]) == (1 << 20,)
    client.ask(Command.WRITE, 0, 512, bytes(512))
    assert client.take() == DONE
    client.ask(Command.READ, 0, 512)
    assert client.take() == DONE + bytes(512)
    client.ask(Command.DISC, 0, 0)
    assert client.cut
    assert not world.machine.exports.find("e").in_use


def test_the_handshake_limit_is_the_machine_s_time() -> None:
    world = World(**{"handshake-max-seconds": 10})
    slow, quick = world.client(), world.served()
    world.clock.advance(10 * NANOSECONDS - 1)
    assert not slow.cut
    world.clock.advance(1)
    assert slow.cut
    assert not quick.cut


def test_more_clients_wait_to_be_let_in() -> None:
    world = World(**{"max-connections": 2})
    first = world.client()
    assert world.host.place.open
    world.client()
    assert not world.host.place.open
    first.connection.closed()
    assert first.cut
    assert world.host.place.open


def test_a_request_may_come_in_any_pieces() -> None:
    client = World().served()
    whole = REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 7, 0, 600) + bytes(600)
    for position in range(len(whole)):
        assert client.take() == b""
        assert client.connection.wanted > 0
        client.connection.feed(whole[position : position + 1])
    assert client.take() == DONE


def test_who_sends_a_lot_lets_others_have_their_turn() -> None:
    world = World()
    client = world.served()
    one = REQUEST.pack(REQUEST_MAGIC, 0, Command.FLUSH, 7, 0, 0)
    client.connection.feed(one * (FAIR + 10))
    assert len(client.take()) < (FAIR + 10) * len(DONE)
    world.clock.settle()
    client.ask(Command.FLUSH, 0, 0)
    assert client.take().endswith(DONE)


def test_who_does_not_read_is_not_read_from() -> None:
    world = World()
    client = world.served()
    client.congested = True
    client.ask(Command.READ, 0, 512)
    assert client.take() == DONE + bytes(512)
    flush = REQUEST.pack(REQUEST_MAGIC, 0, Command.FLUSH, 1, 0, 0)
    client.connection.feed(flush * (READ_AHEAD // len(flush) + 1))
    assert client.paused
    client.congested = False
    client.connection.drained()
    world.clock.settle()
    assert not client.paused


def test_what_was_asked_before_the_end_is_answered() -> None:
    """A client that closes its half of the connection still reads."""
    client = World().served()
    client.congested = True
    client.ask(Command.READ, 0, 512)
    client.ask(Command.READ, 512, 512)
    client.connection.closed()
    client.congested = False
    client.connection.drained()
    assert client.take() == 2 * (DONE + bytes(512))
    assert client.cut


@pytest.mark.parametrize("congested", [False, True])
def test_an_export_cuts_off_its_clients(congested: bool) -> None:
    world = World()
    client, other = world.served(), world.client()
    client.congested = congested
    client.ask(Command.READ, 0, 512)
    client.congested = False
    world.clock.run(world.machine.exports.delete("e", hard=True))
    assert client.cut
    assert not other.cut
    world.clock.run(world.machine.nbd.stop())
    assert other.cut
    assert not world.host.place.exists


def test_what_a_client_leaves_behind_is_given_back_at_once() -> None:
    """Half an option of 8 MiB, without the help of the collector of cycles."""
    client = World().client()
    client.take()
    client.connection.feed(struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES))
    gc.disable()
    tracemalloc.start()
    try:
        client.connection.feed(OPTION_HEADER.pack(OPTION_MAGIC, 99, 8 << 20))
        for _ in range(7):
            client.connection.feed(bytes(1 << 20))
        client.connection.closed()
        assert client.cut
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
        gc.enable()
