"""The nbd driver inside the process, on a clock that the test moves: qmpd serves qmpd."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmpd.block.change.blockdev import blockdev_add
from qmpd.block.drivers.protocols.file import File
from qmpd.block.drivers.protocols.nbd.driver import Nbd
from qmpd.block.drivers.protocols.nbd.protocol import (
    MAGIC,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    Command,
    Option,
    OptionReply,
)
from qmpd.block.model.node import Node
from qmpd.errors import BlockIOError, QmpError
from qmpd.export.add import add_export
from qmpd.loop.clock import NANOSECONDS, VirtualClock
from qmpd.loop.stream import Peer
from qmpd.loop.task import Task
from tests.support.cable import Network
from tests.support.services import bare_machine

SIZE = 1 << 20
ADDRESS = {"type": "unix", "path": "/s"}


class World:
    """A server and a client; both have the same time."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock)
        self.server = bare_machine(self.clock, host=self.network.host())
        self.client = bare_machine(self.clock, host=self.network.host())
        create = {"driver": "file", "filename": "image", "size": SIZE}
        self.clock.run(File.create(self.server.graph, create))
        node = {"driver": "file", "node-name": "n", "filename": "image", "discard": "unmap"}
        self.image = self.clock.run(blockdev_add(self.server.graph, node))
        self.begin()

    def begin(self) -> None:
        """Let the server come."""
        self.server.nbd.start({"addr": ADDRESS})
        export = {"type": "nbd", "id": "e", "name": "e", "node-name": "n", "writable": True}
        self.clock.run(add_export(self.server, export))

    def end(self) -> None:
        """Let the server go, without a word."""
        self.network.cut()
        self.clock.settle()
        self.clock.run(self.server.nbd.stop())

    def open(self, **options: Any) -> Node:
        node: Node = self.clock.run(self.opening(**options))
        return node

    def opening(self, **options: Any) -> Any:
        more = {name.replace("_", "-"): value for name, value in options.items()}
        node = {"driver": "nbd", "node-name": "c", "server": ADDRESS, "export": "e", **more}
        return blockdev_add(self.client.graph, node)

    def begin_task(self, work: Any) -> Task:
        return self.clock.enter(work, "work", lambda _: None)

    def seconds(self, count: float) -> None:
        self.clock.advance(int(count * NANOSECONDS))


def test_what_is_written_is_there() -> None:
    world = World()
    node = world.open(discard="unmap")
    assert node.length == SIZE
    world.clock.run(node.pwrite(1000, b"x" * 70000, fua=True))
    world.clock.run(node.pwrite_zeroes(4096, 8192, may_unmap=True))
    world.clock.run(node.pdiscard(65536, 4096))
    expected = bytearray(b"x" * 70000)
    expected[4096 - 1000 : 12288 - 1000] = bytes(8192)
    expected[65536 - 1000 : 69632 - 1000] = bytes(4096)
    assert world.clock.run(node.pread(1000, 70000)) == bytes(expected)
    assert world.clock.run(world.image.pread(1000, 70000)) == bytes(expected)
    status = world.clock.run(node.block_status(131072, SIZE))
    assert (status.data, status.zero, status.length) == (False, True, SIZE - 131072)


def test_many_requests_at_once() -> None:
    world = World()
    node = world.open()
    tasks = [world.begin_task(node.pwrite(n * 512, bytes([n]) * 512)) for n in range(100)]
    world.clock.settle()
    assert all(task.done and task.error is None for task in tasks)
    tasks = [world.begin_task(node.pread(n * 512, 512)) for n in range(100)]
    world.clock.settle()
    assert [task.result for task in tasks] == [bytes([n]) * 512 for n in range(100)]


def test_without_delay_requests_fail_until_the_server_is_back() -> None:
    world = World()
    node = world.open()
    world.end()
    for _ in range(2):
        with pytest.raises(BlockIOError):
            world.clock.run(node.pread(0, 512))
    world.begin()
    # the attempt that goes on in the background is due
    world.seconds(1)
    assert world.clock.run(node.pread(0, 512)) == bytes(512)


def test_requests_wait_for_the_server_as_long_as_they_may() -> None:
    world = World()
    node = world.open(reconnect_delay=10)
    world.end()
    waiting = [world.begin_task(node.pread(n * 512, 512)) for n in range(20)]
    world.seconds(5)
    assert not any(task.done for task in waiting)
    world.begin()
    world.seconds(3)
    assert [task.result for task in waiting] == [bytes(512)] * 20


def test_requests_wait_no_longer() -> None:
    world = World()
    node = world.open(reconnect_delay=10)
    world.end()
    waiting = world.begin_task(node.pread(0, 512))
    world.seconds(9.999)
    assert not waiting.done
    world.seconds(0.001)
    assert isinstance(waiting.error, BlockIOError)
    with pytest.raises(BlockIOError):
        world.clock.run(node.pread(0, 512))


def test_what_is_not_needed_waits_no_longer() -> None:
    world = World()
    node = world.open(reconnect_delay=10)
    world.end()
    waiting = world.begin_task(node.pread(0, 512))
    world.clock.settle()
    node.driver.cancel_in_flight()
    world.clock.settle()
    assert isinstance(waiting.error, BlockIOError)


def test_a_held_clock_holds_the_timeout() -> None:
    world = World()
    world.end()
    opening = world.begin_task(world.opening(open_timeout=10))
    world.clock.settle()
    world.seconds(9.999)
    assert not opening.done
    world.seconds(0.001)
    assert isinstance(opening.error, QmpError)
    assert opening.error.desc == "Failed to connect to '/s': No such file or directory"
    assert world.client.graph.find_node("c") is None


def test_a_server_that_comes_late() -> None:
    world = World()
    world.end()
    opening = world.begin_task(world.opening(open_timeout=10))
    world.seconds(2)
    world.begin()
    world.seconds(1)
    assert opening.error is None
    assert isinstance(opening.result.driver, Nbd)


def test_closing_leaves_nothing() -> None:
    world = World()
    world.open(reconnect_delay=10)
    assert world.server.exports.find("e").in_use
    world.clock.run(world.client.close())
    assert not world.server.exports.find("e").in_use
    assert all(end.closed for end in world.network.ends)
    assert world.clock.next_due() is None


class Script:
    """A server that says what it was told to say, whatever it hears."""

    wanted = 0

    def __init__(self, said: bytes) -> None:
        self.said = said

    def connect(self, peer: Peer) -> Script:
        peer.write(self.said)
        self.peer = peer
        return self

    def feed(self, data: bytes) -> None:
        pass

    def drained(self) -> None:
        pass

    def closed(self) -> None:
        self.peer.close()


def scripted(said: bytes) -> World:
    """A world whose server speaks by a script, and then hangs up."""
    world = World()
    world.end()
    script = Script(said)
    world.client.host.listen(ADDRESS, script.connect)  # the client's network is the server's
    return world


def _reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, kind, len(data)) + data


GREETING = MAGIC + OPTION_MAGIC + struct.pack(">H", 3)
NO = _reply(Option.EXTENDED_HEADERS, OptionReply.ERR_UNSUP)
SIMPLE = GREETING + NO + _reply(Option.STRUCTURED_REPLY, OptionReply.ERR_UNSUP)


def info(kind: int, data: bytes) -> bytes:
    return _reply(Option.GO, OptionReply.INFO, struct.pack(">H", kind) + data)


SIZES = info(3, struct.pack(">III", 1, 4096, 1 << 25))
EXPORT = info(0, struct.pack(">QH", SIZE, 5))
GONE = _reply(Option.GO, OptionReply.ACK)

REFUSALS = [
    (b"x" * 16, "Bad initial magic received: 0x7878787878787878"),
    (MAGIC + b"x" * 8, "Bad server magic received: 0x7878787878787878"),
    (GREETING + b"x" * 20, "Unexpected option reply magic"),
    (
        GREETING + _reply(7, 1),
        "Unexpected option type 7 (go), expected 11 (extended headers)",
    ),
    (
        GREETING + _reply(11, 3),
        "Server answered option 11 (extended headers) with unexpected reply 3 (info)",
    ),
    (
        GREETING + _reply(11, 1, b"x"),
        "Option 11 ('extended headers') response length is 1 (it should be zero)",
    ),
    (SIMPLE + _reply(7, 2), "unexpected reply type 2 (server), expected 3 (info)"),
    (SIMPLE + _reply(7, 3, b"x"), "NBD_REP_INFO length 1 is too short"),
    (SIMPLE + info(0, b"x"), "remaining export info len 1 is unexpected size"),
    (SIMPLE + info(3, b"x"), "remaining export info len 1 is unexpected size"),
    (
        SIMPLE + info(3, struct.pack(">III", 3, 4096, 8192)),
        "server minimum block size 3 is not a power of two",
    ),
    (
        SIMPLE + info(3, struct.pack(">III", 8, 4, 8192)),
        "server preferred block size 4 is not valid",
    ),
    (
        SIMPLE + info(3, struct.pack(">III", 8, 16, 4)),
        "server maximum block size 4 is not valid",
    ),
    (
        SIMPLE + info(3, struct.pack(">III", 512, 512, 512)) + info(0, struct.pack(">QH", 7, 1)),
        "export size 7 is not multiple of minimum block size 512",
    ),
    (SIMPLE + GONE, "broken server omitted NBD_INFO_EXPORT"),
    (SIMPLE + EXPORT + _reply(7, 1, b"x"), "server sent invalid NBD_REP_ACK"),
    (SIMPLE + _reply(7, 0x80000002), "Denied by server for option 7 (go)"),
    (SIMPLE + _reply(7, 0x80000003), "Invalid parameters for option 7 (go)"),
    (SIMPLE + _reply(7, 0x80000004), "Server lacks support for option 7 (go)"),
    (SIMPLE + _reply(7, 0x80000005), "TLS negotiation required before option 7 (go)"),
    (SIMPLE + _reply(7, 0x80000006, b"why"), "Requested export not available"),
    (SIMPLE + _reply(7, 0x80000007), "Server shutting down before option 7 (go)"),
    (SIMPLE + _reply(7, 0x80000008), "Server requires INFO_BLOCK_SIZE for option 7 (go)"),
    (SIMPLE + _reply(7, 0x80000063), "Unknown error code when asking for option 7 (go)"),
    (
        SIMPLE + _reply(7, 0x80000001) + _reply(3, 2, struct.pack(">I", 1) + b"x") + _reply(3, 1),
        "No export with name 'e' available",
    ),
]


@pytest.mark.parametrize(("said", "text"), REFUSALS)
def test_servers_that_will_not_do(said: bytes, text: str) -> None:
    world = scripted(said)
    opening = world.begin_task(world.opening())
    world.clock.settle()
    assert isinstance(opening.error, QmpError)
    assert opening.error.desc == text
    assert world.client.graph.find_node("c") is None


def _opened(said: bytes) -> tuple[World, Node]:
    world = scripted(SIMPLE + SIZES + EXPORT + GONE + said)
    node: Node = world.open(read_only=True)
    return world, node


def test_a_server_of_long_ago() -> None:
    world = scripted(MAGIC + bytes.fromhex("0000420281861253") + struct.pack(">QI", SIZE, 3))
    opening = world.begin_task(world.opening(export="", read_only=True))
    world.clock.settle()
    assert not opening.done
    world.network.cut()
    world.clock.settle()
    assert isinstance(opening.error, QmpError)
    assert opening.error.desc.startswith("Failed to read reserved block: ")


REPLIES: list[Callable[[], st.SearchStrategy[bytes]]] = [
    lambda: st.binary(max_size=64),
    lambda: st.builds(
        lambda magic, error, cookie, rest: struct.pack(">IIQ", magic, error, cookie) + rest,
        st.sampled_from((0x67446698, 0x668E33EF, 0x6E8A278C, 0)),
        st.sampled_from((0, 1, 5, 22, 0x80010000, 0x00010001)),
        st.sampled_from((0, 1, 2, 17, 1 << 63)),
        st.binary(max_size=600),
    ),
]


@given(said=st.one_of(*(make() for make in REPLIES)), command=st.sampled_from((0, 3, 7)))
def test_whatever_a_server_says_is_an_error_or_data(said: bytes, command: int) -> None:
    world, node = _opened(said)
    works: dict[int, Callable[[], Any]] = {
        Command.READ: lambda: node.driver.pread(0, 512),
        Command.FLUSH: node.driver.flush,
        Command.BLOCK_STATUS: lambda: node.driver.block_status(0, 512),
    }
    task = world.begin_task(works[command]())
    world.clock.settle()
    world.network.cut()
    world.clock.settle()
    assert task.done
    assert task.error is None or isinstance(task.error, BlockIOError)
