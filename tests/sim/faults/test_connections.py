"""`vm.faults.connection`: what happens between a machine and its clients at sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

import qmpd

NEGOTIATE = b'{"execute": "qmp_capabilities", "id": "negotiate"}'
STATUS = b'{"execute": "query-status", "id": "status"}'
NAME = b'{"execute": "query-name", "id": "name"}'
EVENT = {"event": "STRANGE", "timestamp": {"seconds": 1, "microseconds": 2}}


class Client:
    """A client that reads what there is until the connection ends or is quiet."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def send(self, *requests: bytes) -> None:
        with suppress(BrokenPipeError):  # it may have been cut off already
            self.socket.sendall(b"\n".join(requests))

    def all(self) -> bytes:
        """Everything until the connection is cut."""
        data = b""
        try:
            while more := self.socket.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, data
            data += more
        return data

    def lines(self, count: int) -> list[bytes]:
        """So many lines."""
        data = b""
        while data.count(b"\n") < count:
            more = self.socket.recv(65536)
            assert more, data
            data += more
        return data.splitlines()

    def names(self, count: int) -> list[str]:
        """What so many messages are."""
        return [name_of(json.loads(line)) for line in self.lines(count)]


def name_of(message: dict[str, Any]) -> str:
    name = next(message[key] for key in ("id", "event", "QMP") if key in message)
    return name if isinstance(name, str) else "greeting"


@contextmanager
def client(path: str) -> Iterator[Client]:
    client = Client(path)
    try:
        yield client
    finally:
        client.socket.close()


@pytest.mark.parametrize(
    ("action", "place", "left"),
    [
        ("cut-before", {"message": 1}, 0),
        ("cut-after", {"message": 1}, 1),
        ("cut-before", {"message": 3}, 2),
        ("cut-within", {"message": 3}, 2.5),
        ("cut-after", {"message": 3}, 3),
        ("cut-before", {"byte": 10}, 9),
        ("cut-after", {"byte": 10}, 10),
    ],
)
def test_cuts(action: str, place: dict[str, Any], left: float) -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        with vm.faults.connection(action, **place) as fault:
            with client(path) as first:
                first.send(NEGOTIATE, STATUS, NAME)
                data = first.all()
            if "byte" in place:
                assert len(data) == left
            else:
                assert data.count(b"\n") == int(left)
                assert data.endswith(b"\n") == (left == int(left) and left > 0)
            assert fault.hits == 1
        with client(path) as second:
            second.send(NEGOTIATE, STATUS, NAME)
            assert second.names(4) == ["greeting", "negotiate", "status", "name"]


def test_the_answer_is_lost_but_the_command_was_run() -> None:
    with qmpd.Machine() as vm, vm.serve() as path, client(path) as one:
        one.send(NEGOTIATE)
        one.lines(2)
        vm.faults.connection("cut-before", message=1)
        one.send(b'{"execute": "stop"}')
        assert one.all() == b""
        assert vm.cmd("query-status")["running"] is False


def test_requests_that_do_not_arrive() -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        with vm.faults.connection("cut-after", direction="in", message=2), client(path) as one:
            one.send(NEGOTIATE, STATUS, b'{"execute": "stop"}')
            assert one.all().count(b"\n") <= 3
        assert vm.cmd("query-status")["running"] is True


def test_a_message_in_slices() -> None:
    with qmpd.Machine(clock="held") as vm, vm.serve() as path:
        vm.faults.connection("slice", size=7, seconds=1, count=1)
        with client(path) as one:
            assert one.socket.recv(1000) == b'{"QMP":'
            vm.clock.advance(1)
            assert one.socket.recv(1000) == b' {"vers'
            vm.clock.advance(1000)
            one.send(NEGOTIATE)
            assert name_of(json.loads(one.lines(2)[1])) == "negotiate"


def test_a_message_is_late() -> None:
    with qmpd.Machine(clock="held") as vm, vm.serve() as path, client(path) as one:
        one.lines(1)
        fault = vm.faults.connection("delay", message=1, seconds=5)
        one.send(NEGOTIATE, STATUS)
        while not fault.hits:
            vm.clock.advance(0)
        one.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.socket.recv(1)
        one.socket.settimeout(20)
        vm.clock.advance(5)
        assert one.names(2) == ["negotiate", "status"]


def test_an_event_inside_the_greetings_exchange() -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        vm.faults.connection("insert", data=EVENT)
        with client(path) as one:
            one.send(NEGOTIATE)
            assert one.names(3) == ["greeting", "STRANGE", "negotiate"]


def test_garbage() -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        vm.faults.connection("insert", data=b"\xff{]\r\n", message=3)
        vm.faults.connection("insert", data="!", byte=2, nth=2)
        with client(path) as one:
            one.send(NEGOTIATE, STATUS)
            assert one.lines(4)[2] == b"\xff{]"
        with client(path) as two:
            assert two.lines(1)[0].startswith(b'{!"QMP"')


def test_events_come_twice_and_late() -> None:
    with qmpd.Machine() as vm, vm.serve() as path, client(path) as one:
        one.send(NEGOTIATE)
        one.lines(2)
        with vm.faults.connection("duplicate", event="ST*"):
            vm.cmd("stop")
            assert one.names(2) == ["STOP", "STOP"]
        with vm.faults.connection("late", event="RESUME", after=2):
            vm.cmd("cont")
            vm.cmd("stop")
            one.send(STATUS, NAME)
            assert one.names(4)[1:3] == ["status", "RESUME"]


def test_an_event_is_late_by_the_clock() -> None:
    with qmpd.Machine(clock="held") as vm, vm.serve() as path, client(path) as one:
        one.send(NEGOTIATE)
        one.lines(2)
        vm.faults.connection("late", event="STOP", seconds=60)
        vm.cmd("stop")
        vm.cmd("cont")
        assert one.names(1) == ["RESUME"]
        vm.clock.advance(60)
        assert one.names(1) == ["STOP"]


def test_a_monitor_that_no_longer_reads() -> None:
    with qmpd.Machine() as vm, vm.serve() as path, client(path) as one:
        one.send(NEGOTIATE)
        one.lines(2)
        fault = vm.faults.connection("deaf", message=1)
        one.send(STATUS, NAME, STATUS)
        assert one.names(1) == ["status"]
        one.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.socket.recv(1)
        vm.cmd("stop")
        one.socket.settimeout(20)
        assert one.names(1) == ["STOP"], "it is heard still"
        fault.remove()
        assert one.names(2) == ["name", "status"]


def test_one_connection_of_several() -> None:
    with qmpd.Machine() as vm, vm.serve() as path:
        fault = vm.faults.connection("cut-after", message=1, nth=2)
        for number in (1, 2, 3):
            with client(path) as one:
                one.send(NEGOTIATE)
                if number == 2:
                    assert one.all().count(b"\n") == 1
                else:
                    assert one.names(2) == ["greeting", "negotiate"]
        assert fault.hits == 1


def test_the_programs_own_monitor_is_left_alone() -> None:
    with qmpd.Machine() as vm:
        fault = vm.faults.connection("cut-before", message=1)
        vm.cmd("query-status")
        assert fault.hits == 0


def nbd_server(vm: qmpd.Machine, path: str) -> None:
    address = {"type": "unix", "data": {"path": path}}
    vm.cmd("nbd-server-start", addr=address)
    vm.cmd("block-export-add", type="nbd", id="e", node_name="disk0", name="disk0")


def test_clients_of_nbd(tmp_path: Any) -> None:
    with qmpd.Machine(disks={"disk0": "1M"}, clock="real") as vm, vm.serve():
        path = str(tmp_path / "nbd")
        nbd_server(vm, path)
        with vm.faults.connection("cut-after", nbd=True, byte=8) as fault:
            with client(path) as one:
                assert one.all() == b"NBDMAGIC"
            assert fault.hits == 1
        with vm.faults.connection("insert", nbd=True, byte=1, data=b"oops"), client(path) as two:
            assert two.exactly(12) == b"oopsNBDMAGIC"
        slow = vm.faults.connection("slice", nbd=True, size=3, seconds=3600)
        with client(path) as three:
            assert three.socket.recv(100) == b"NBD"
        slow.remove()
        vm.faults.connection("cut-before", nbd=True, direction="in", byte=5, count=1)
        with client(path) as four:
            four.exactly(8)
            four.send(b"\0\0\0\1then more")
            four.all()
        with client(path) as five:
            assert five.exactly(8) == b"NBDMAGIC"


def test_it_is_in_the_list() -> None:
    with qmpd.Machine() as vm:
        vm.faults.connection("cut-after", message=3, monitor="ser*", nth=2)
        assert [fault.describe() for fault in vm.faults] == [
            {
                "connection": "cut-after",
                "to": "ser*",
                "direction": "out",
                "nth": 2,
                "message": 3,
                "hits": 0,
            }
        ]
        assert len(vm.faults.unused()) == 1


@pytest.mark.parametrize(
    ("action", "arguments", "text"),
    [
        ("cut", {}, "there is no action 'cut'; it is one of 'cut-before', 'cut-within'"),
        ("cut-after", {}, "say where: 'cut-after' needs 'message' or 'byte'"),
        ("cut-after", {"message": 1, "byte": 1}, "'message' and 'byte' exclude each other"),
        ("cut-after", {"message": 0}, "message is 0; it must be at least 1"),
        (
            "cut-after",
            {"message": 1, "seconds": 1},
            "'cut-after' has no 'seconds'; it takes",
        ),
        ("insert", {"message": 1}, "'insert' needs 'data'"),
        ("slice", {}, "'slice' needs 'size'"),
        (
            "late",
            {"event": "X", "after": 1, "seconds": 1},
            "'after' and 'seconds' exclude",
        ),
        ("late", {"event": "X", "direction": "in"}, "its direction is 'out'"),
        ("deaf", {"message": 1, "direction": "out"}, "its direction is 'in'"),
        (
            "deaf",
            {"message": 1, "direction": "up"},
            "there is no direction 'up'; it is",
        ),
        ("cut-after", {"message": 1, "nbd": True}, "NBD has no messages"),
        ("cut-after", {"byte": 1, "nbd": True, "monitor": "m"}, "exclude each other"),
        ("duplicate", {}, "say what: 'duplicate' needs 'event' or 'message'"),
    ],
)
def test_what_makes_no_sense(action: str, arguments: dict[str, Any], text: str) -> None:
    with qmpd.Machine() as vm:
        with pytest.raises(ValueError) as caught:
            vm.faults.connection(action, **arguments)
        assert text in str(caught.value)
        assert list(vm.faults) == []
