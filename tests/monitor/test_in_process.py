"""Monitors opened by the program that has the machine: no socket, no thread, time by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qmpd.loop.clock import NANOSECONDS, VirtualClock
from qmpd.monitor.journal import Entry, Record
from qmpd.monitor.monitors import Monitors
from qmpd.monitor.qmp_monitor import QmpMonitor
from qmpd.monitor.transport import Output
from tests.support.services import bare_machine

CREATE = b"""{"execute": "blockdev-create", "arguments": {"job-id": "j", "options":
{"driver": "file", "filename": "/x", "size": 65536}}, "id": 7}"""


class World:
    def __init__(self, record: Record | None = None) -> None:
        self.clock = VirtualClock(date=0)
        self.machine = bare_machine(self.clock)
        self.monitors = Monitors(self.machine, record)

    def negotiated(self, label: str = "m", enable: str = "") -> QmpMonitor:
        monitor = self.monitors.add_qmp(label)
        monitor.opened()
        arguments = f', "arguments": {{"enable": [{enable}]}}' if enable else ""
        monitor.feed(f'{{"execute": "qmp_capabilities"{arguments}}}'.encode())
        assert b'{"return": {}}' in monitor.output()
        return monitor


def messages(monitor: QmpMonitor) -> list[Any]:
    return [json.loads(line) for line in monitor.output().splitlines()]


def test_greeting_request_and_answer_are_bytes() -> None:
    world = World()
    monitor = world.monitors.add_qmp("program")
    assert monitor.output() == b""
    monitor.opened()
    assert monitor.output().startswith(b'{"QMP": {"version": {"qemu": ')
    monitor.feed(b'{"execute": "qmp_capa')
    assert monitor.output() == b""
    monitor.feed(b'bilities"}{"execute": "query-name", "id": 1}')
    assert monitor.output() == b'{"return": {}}\r\n{"return": {}, "id": 1}\r\n'


def test_a_job_goes_on_when_the_clock_is_run() -> None:
    world = World()
    monitor = world.negotiated()
    monitor.feed(CREATE)
    world.clock.settle()
    names = [
        message["data"]["status"] if "event" in message else message["id"]
        for message in messages(monitor)
    ]
    assert names == ["created", "running", 7, "waiting", "pending", "concluded"]


def test_events_of_others_come_with_the_clock_s_time() -> None:
    world = World()
    first, second = world.negotiated("a"), world.negotiated("b")
    world.clock.advance(3 * NANOSECONDS)
    first.feed(b'{"execute": "stop"}')
    assert messages(second) == [{"timestamp": {"seconds": 3, "microseconds": 0}, "event": "STOP"}]
    assert [next(iter(message)) for message in messages(first)] == ["timestamp", "return"]


def test_monitors_wait_for_each_other_s_commands() -> None:
    world = World()
    first, second = world.negotiated("a"), world.negotiated("b", '"oob"')
    first.feed(CREATE)
    second.feed(b'{"execute": "query-jobs", "id": "waits"}')
    second.feed(b'{"exec-oob": "query-jobs", "id": "aside"}')
    world.clock.settle()
    answers = [message["id"] for message in messages(second) if "event" not in message]
    assert answers == ["aside", "waits"]


def test_a_monitor_that_is_removed_gets_no_more() -> None:
    world = World()
    first, second = world.negotiated("a"), world.negotiated("b")
    world.monitors.remove(first)
    second.feed(b'{"execute": "stop"}')
    first.feed(b'{"execute": "query-name"}')
    assert first.output() == b""


def test_a_new_peer_begins_with_negotiation() -> None:
    world = World()
    monitor = world.negotiated()
    monitor.feed(b'{"execute": "query-')
    monitor.closed()
    monitor.opened()
    monitor.feed(b'{"execute": "query-name"}')
    greeting, answer = messages(monitor)
    assert "QMP" in greeting
    assert "negotiation" in answer["error"]["desc"]


def test_output_may_go_to_a_callback() -> None:
    world = World()
    pieces: list[bytes] = []
    monitor = world.monitors.add_qmp("program", Output(pieces.append))
    monitor.opened()
    assert len(pieces) == 1
    with pytest.raises(ValueError, match="goes to its transport"):
        monitor.output()


def test_the_human_monitor() -> None:
    world = World()
    monitor = world.monitors.add_hmp("person")
    monitor.opened()
    assert monitor.output().endswith(b"type 'help' for more information\r\n(qemu) ")
    monitor.feed(b"info name\n")
    assert monitor.output().endswith(b"\r\n(qemu) ")
    monitor.feed(b"stop\n")
    world.clock.settle()
    assert not world.machine.running


def test_all_monitors_share_one_journal() -> None:
    """One order, the time of the machine's clock, requests and answers and events of each."""
    entries: list[Entry] = []
    world = World(entries.append)
    qmp, human = world.negotiated("q"), world.monitors.add_hmp("h")
    human.opened()
    world.clock.advance(2 * NANOSECONDS)
    human.feed(b"stop\n")
    world.clock.settle()
    qmp.feed(b"{]")
    shown = [entry.describe() for entry in entries]
    assert [entry["number"] for entry in shown] == list(range(len(shown)))
    negotiation, rest = shown[:3], shown[3:]
    assert [(e["monitor"], e["direction"], e["time"]) for e in negotiation] == [
        ("q", "out", 0),
        ("q", "in", 0),
        ("q", "out", 0),
    ]
    assert negotiation[1]["message"] == {"execute": "qmp_capabilities"}
    stamp = {"seconds": 2, "microseconds": 0}
    assert [{n: v for n, v in e.items() if n not in ("number", "time")} for e in rest] == [
        {"monitor": "h", "direction": "in", "line": "stop"},
        {
            "monitor": "q",
            "direction": "out",
            "message": {"timestamp": stamp, "event": "STOP"},
        },
        {"monitor": "h", "direction": "out", "text": ""},
        {"monitor": "q", "direction": "in", "error": "JSON parse error, expecting value"},
        {
            "monitor": "q",
            "direction": "out",
            "message": {
                "error": {"class": "GenericError", "desc": "JSON parse error, expecting value"}
            },
        },
    ]
    assert {entry["time"] for entry in rest} == {2}
