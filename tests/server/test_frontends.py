"""The human monitor, multiplexing, the qtest channel, limited events, process matters."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from qmpd.errors import GenericError
from qmpd.loop.clock import VirtualClock
from qmpd.loop.events import EventRecord
from qmpd.loop.task import Waiter
from qmpd.monitor.dispatcher import Dispatcher
from qmpd.monitor.event_throttle import EventThrottle
from qmpd.monitor.hmp_monitor import HmpMonitor
from qmpd.server.chardev.chardev import Chardev, ChardevTable, NullChardev, RingbufChardev
from qmpd.server.chardev.mux import MuxChardev, SilentConsole
from qmpd.server.lifecycle import PidFile, notify, process_name
from qmpd.server.qtest import QtestChannel


class Recorder(NullChardev):
    """A chardev whose peer is the test."""

    def __init__(self) -> None:
        super().__init__("dev")
        self.out = b""

    def write(self, data: bytes) -> None:
        self.out += data

    def take(self) -> bytes:
        out, self.out = self.out, b""
        return out

    def type(self, data: bytes) -> bytes:
        assert self.frontend is not None
        self.frontend.feed(data)
        return self.take()


class Human:
    """A human monitor whose commands echo their line, and ``wait`` until woken."""

    def __init__(self, chardev: Chardev) -> None:
        self.soon: list[Callable[[], None]] = []
        self.waiter = Waiter()
        self.ending = False
        dispatcher = Dispatcher(self.soon.append)
        self.monitor = HmpMonitor(
            "dev", chardev, dispatcher, "hello", self.run, lambda: self.ending
        )
        chardev.attach(self.monitor)

    async def run(self, line: str) -> str:
        if line == "wait":
            await self.waiter
        if line == "quit":
            self.ending = True
            return ""
        return f"<{line}>\n" if line else ""


def test_human_monitor() -> None:
    device = Recorder()
    human = Human(device)
    assert device.take() == b"hello\r\n(qemu) "
    assert device.type(b"a\n") == b"a\x1b[K\r\n<a>\r\n(qemu) "
    assert device.type(b"\n") == b"\r\n(qemu) "
    assert device.type(b"quit\n").endswith(b"quit\x1b[K\r\n")
    assert human.ending


def test_what_is_typed_ahead_waits_for_the_command() -> None:
    device = Recorder()
    human = Human(device)
    device.take()
    assert device.type(b"wait\nb\n").endswith(b"wait\x1b[K\r\n")
    human.waiter.wake()
    while human.soon:
        human.soon.pop(0)()
    assert device.take() == b"<wait>\r\n(qemu) b\x1b[K\r\n<b>\r\n(qemu) "


def test_multiplexed_console_and_monitor() -> None:
    device = Recorder()
    ended: list[bool] = []
    mux = MuxChardev("mux", device, 0x01, lambda: ended.append(True))
    Human(mux.add_port())
    mux.add_port().attach(SilentConsole())
    mux.settle()
    assert device.take() == b""
    assert device.type(b"to the guest") == b""
    assert device.type(b"\x01c") == b"hello\r\n(qemu) "
    assert device.type(b"x\n\x01\x01") == b"x\x1b[K\r\n<x>\r\n(qemu) "
    assert device.type(b"\x01c") == b"\r\n"
    assert device.type(b"\x01c") == b"(qemu) "
    assert b"ctrl-a x" in device.type(b"\x01h")
    assert device.type(b"\x01x") == b"QEMU: Terminated\n\r"
    assert ended == [True]


def test_chardev_has_one_frontend_and_a_name_of_its_own() -> None:
    table = ChardevTable()
    table.add(NullChardev("a"))
    with pytest.raises(GenericError, match="attempt to add duplicate property 'a'"):
        table.add(NullChardev("a"))
    found = table.find("a")
    assert found is not None
    found.attach(SilentConsole())
    with pytest.raises(GenericError, match="chardev 'a' is already in use"):
        found.attach(SilentConsole())


def test_ring_buffer_keeps_the_last_bytes() -> None:
    ring = RingbufChardev("r", 4)
    ring.write(b"abc")
    ring.write(b"def")
    assert ring.read(3) == b"cde"
    assert ring.read(9) == b"f"
    with pytest.raises(GenericError, match="must be power of two"):
        RingbufChardev("r", 6)


def test_qtest_steps_the_clock() -> None:
    device, clock, log = Recorder(), VirtualClock(), io.StringIO()
    QtestChannel(device, clock, log)
    due: list[int] = []
    clock.call_later(700, lambda: due.append(clock.now()))
    assert device.type(b"clock_step 100\nclock_") == b"OK 100\n"
    assert device.type(b"set 500\n") == b"OK 500\n"
    assert device.type(b"clock_step\n") == b"OK 700\n"
    assert due == [700]
    assert device.type(b"clock_step\n") == b"FAIL 700\n"
    assert device.type(b"nonsense x\n") == b"FAIL Unknown command 'nonsense'\n"
    assert "] clock_step 100\n[S +" in log.getvalue()


def test_without_its_accelerator_qtest_has_no_clock() -> None:
    device = Recorder()
    QtestChannel(device, None, None)
    assert device.type(b"clock_step 1\n") == b"FAIL Unknown command 'clock_step'\n"


def test_of_a_burst_the_first_and_the_last_event_pass() -> None:
    clock, passed = VirtualClock(), list[tuple[int, int]]()
    throttle = EventThrottle(clock, lambda event: passed.append((clock.now(), event.seconds)))
    for number in range(5):
        throttle(EventRecord("QUORUM_REPORT_BAD", {"node-name": "q"}, number, 0))
    throttle(EventRecord("STOP", None, 9, 0))
    assert passed == [(0, 0), (0, 9)]
    clock.advance(5_000_000_000)
    assert passed[2:] == [(1_000_000_000, 4)]
    throttle(EventRecord("QUORUM_REPORT_BAD", {"node-name": "q"}, 10, 0))
    assert passed[-1] == (5_000_000_000, 10)


def test_pid_file_is_locked_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    pid_file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(GenericError, match="cannot create PID file: Could not create"):
        PidFile(str(tmp_path / "no" / "pid"))
    pid_file.remove()
    assert not path.exists()


def test_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_process_name() -> None:
    assert process_name(os.getpid())
    assert process_name(2**22 + 1) is None
