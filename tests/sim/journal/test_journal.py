"""`vm.journal`: what is in it, its parts and its forms."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd.loop.events import EventRecord
from qmpd.sim.journal.entry import KINDS
from qmpd.sim.journal.journal import Journal
from qmpd.sim.journal.log import Log


def kinds(journal: Journal) -> list[str]:
    return [entry.kind for entry in journal]


def test_one_order_from_the_start_to_the_end() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        vm.disk("disk0").write(4096, bytes(512))
        vm.cmd("stop")
        assert vm.qmp("blockdev-del", node_name="nope")["error"]["class"] == "GenericError"
    entries = list(vm.journal)
    assert [entry.number for entry in entries] == list(range(len(entries)))
    assert kinds(vm.journal) == [
        *("connection", "request", "answer", "guest"),
        *("request", "event", "answer", "request", "answer", "machine"),
    ]
    opened, negotiation, _, write, stop, event, stopped, wrong, refused, closed = entries
    assert opened.monitor == "program"
    assert opened.data is not None
    assert opened.data["what"] == "opened"
    assert "QMP" in opened.data["greeting"]
    assert (negotiation.command, negotiation.arguments) == ("qmp_capabilities", {})
    assert write.data == {"operation": "write", "disk": "disk0", "offset": 4096, "length": 512}
    assert (stop.command, event.event, event.data) == ("stop", "STOP", {})
    assert (stopped.command, stopped.value, stopped.error) == ("stop", {}, None)
    assert wrong.arguments == {"node-name": "nope"}
    assert refused.error == {
        "class": "GenericError",
        "desc": "Failed to find node with node-name='nope'",
    }
    assert closed.data == {"what": "closed"}


def test_time_is_the_machines() -> None:
    with qmpd.Machine(clock="held") as vm:
        vm.clock.advance(2.5)
        vm.cmd("query-status")
    advanced = vm.journal.filter("clock")[0]
    assert (advanced.time, advanced.data) == (0, {"what": "advance", "ns": 2_500_000_000})
    assert [entry.time for entry in vm.journal.filter(command="query-status")] == [
        2_500_000_000
    ] * 2


def test_jumps_with_nothing_in_between_are_one() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        vm.cmd("blockdev-add", driver="null-co", node_name="target", size=1 << 20)
        vm.disk("disk0").write(0, b"x" * (1 << 20))
        vm.cmd(
            "blockdev-mirror",
            job_id="job0",
            device="disk0",
            target="target",
            sync="full",
            speed=1 << 16,
        )
        vm.event_wait("BLOCK_JOB_READY")
        now = vm.clock.now_ns
    (jump,) = vm.journal.filter("clock")
    assert jump.data == {"what": "jump", "ns": now}
    states = [entry.data["status"] for entry in vm.journal.filter("job") if entry.data is not None]
    assert states[:3] == ["created", "running", "ready"]


def test_failed_guest_requests() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm, pytest.raises(qmpd.errors.QmpError):
        vm.disk("disk0").read(1 << 20, 512)
    asked, failed = vm.journal.filter("guest")
    assert failed.data == {**(asked.data or {}), "error": "Input/output error"}


def test_filters() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        mark = vm.journal.mark()
        vm.cmd("stop")
        vm.cmd("cont")
        journal = vm.journal.since(mark)
        assert kinds(journal.filter(command="stop")) == ["request", "answer"]
        assert [e.command for e in journal.filter("request")] == ["stop", "cont"]
        assert [e.event for e in journal.filter(event="RESUME")] == ["RESUME"]
        assert [e.event for e in journal.filter(["event"])] == ["STOP", "RESUME"]
        assert len(journal.filter(command=lambda name: name.startswith("c"))) == 2
        assert not journal.filter(monitor="nobody")
        assert len(journal.filter(monitor="program")) == len(journal)
        assert journal[0].command == "stop"
        vm.cmd("query-status")
        assert journal[-1].command == "query-status"
        with pytest.raises(ValueError, match="no kind 'events' of entries; it is one of 'request'"):
            journal.filter("events")


def test_other_monitors() -> None:
    with qmpd.Machine() as vm:
        with vm.serve() as path, socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.recv(1000)
            client.send(b'{"execute": "qmp_capabilities", "id": 7}{]')
            received = b""
            while b"JSON parse error" not in received:
                received += client.recv(1000)
            vm.cmd("stop")
        served = list(vm.journal.filter(monitor="served"))
    assert [entry.kind for entry in served] == [
        *("connection", "request", "answer", "request", "answer", "event", "connection"),
    ]
    assert served[1].id == 7
    assert served[3].command is None
    assert served[3].error == served[4].error
    assert served[6].data == {"what": "closed"}
    assert len(vm.journal.filter(event="STOP")) == 2


def test_the_human_monitor() -> None:
    with qmpd.Machine() as vm:
        monitor = vm._core.monitors.add_hmp("person")
        monitor.opened()
        monitor.feed(b"info name\nstop\n")
        vm.cmd("query-status")
    lines = [e for e in vm.journal.filter(monitor="person") if e.kind != "connection"]
    assert [(e.kind, e.command) for e in lines] == [
        *(("request", "info name"), ("answer", "info name")),
        *(("request", "stop"), ("answer", "stop")),
    ]
    assert lines[1].answer == {"text": ""}


def test_out_of_band() -> None:
    with qmpd.Machine() as vm:
        with vm.serve() as path, socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.send(b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}')
            client.send(
                b'{"exec-oob": "migrate-pause", "id": 3}{"exec-oob": "yank", "arguments": 1}'
            )
            received = b""
            while received.count(b"\n") < 4:
                received += client.recv(1000)
        pause = vm.journal.filter("request", command="migrate-pause")[0]
        (answer,) = vm.journal.filter("answer", command="migrate-pause")
        wrong = [entry for entry in vm.journal.filter("request") if entry.error is not None]
    assert (pause.oob, pause.id, pause.arguments) == (True, 3, {})
    assert pause.describe()["oob"] is True
    assert str(pause).endswith("-> exec-oob migrate-pause")
    assert answer.error is not None
    assert len(wrong) == 1
    assert [e.oob for e in vm.journal.filter("request", command="qmp_capabilities")] == [None] * 2


def test_as_text() -> None:
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        mark = vm.journal.mark()
        vm.cmd("stop")
        vm.qmp("blockdev-del", node_name="a b")
        vm.disk("disk0").write(0, b"x")
        text = vm.journal.since(mark).text()
        assert text.splitlines() == [
            "    0.000000  program    -> stop",
            "    0.000000  program    <* STOP",
            "    0.000000  program    <- stop: {}",
            '    0.000000  program    -> blockdev-del node-name="a b"',
            "    0.000000  program    <- blockdev-del: GenericError: "
            "Failed to find node with node-name='a b'",
            "    0.000000  guest      -- write disk=disk0 offset=0 length=1",
        ]
        assert vm.journal.since(mark).text(last=1) == f"(5 before)\n{text.splitlines()[-1]}"
        assert str(vm.journal.since(mark)) == text
        vm.cmd("query-named-block-nodes")
        assert vm.journal.text().splitlines()[-1].endswith(" ...")


def test_as_json_lines() -> None:
    with qmpd.Machine() as vm:
        mark = vm.journal.mark()
        vm.cmd("stop")
        lines = [json.loads(line) for line in vm.journal.since(mark).json_lines().splitlines()]
    same = {"time": 0, "monitor": "program"}
    assert lines == [
        {"number": mark, "kind": "request", **same, "command": "stop", "arguments": {}},
        {"number": mark + 1, "kind": "event", **same, "event": "STOP", "data": {}},
        {"number": mark + 2, "kind": "answer", **same, "command": "stop", "answer": {"return": {}}},
    ]


def test_what_the_bench_notes() -> None:
    with qmpd.Machine() as vm:
        mark = vm.journal.mark()
        vm._core.bench.note("fault", what="installed", operation="pwrite", offset=5)
        vm._core.bench.note("connection", monitor="served", what="cut", after=17)
        vm._core.bench.note("answer", monitor="served", what="lost")
        vm._core.bench.note("request", monitor="served", what="lost")
        fault, cut, answer, request = vm.journal.since(mark)
    assert answer.data == request.data == {"what": "lost"}
    assert fault.data == {"what": "installed", "operation": "pwrite", "offset": 5}
    assert (cut.monitor, cut.data) == ("served", {"what": "cut", "after": 17})
    assert str(fault).endswith("fault      -- installed pwrite offset=5")
    assert str(cut).endswith("served     -- connection cut after=17")


def test_the_arguments_are_as_they_were_sent() -> None:
    nested: dict[str, Any] = {
        "driver": "raw",
        "node-name": "n",
        "file": {"driver": "null-co", "size": 512},
    }
    actions = [{"type": "abort", "data": {}}]
    with qmpd.Machine() as vm:
        vm.cmd("blockdev-add", nested)
        vm.qmp("transaction", actions=actions)
        vm.cmd("qom-list", path="/")
    assert vm.journal.filter("request", command="blockdev-add")[0].arguments == nested
    assert vm.journal.filter("request", command="transaction")[0].arguments == {"actions": actions}


def test_memory_is_bounded_and_says_what_is_gone() -> None:
    log = Log(lambda: 0, limit=40_000)
    for number in range(1000):
        log.note("machine", None, {"what": str(number)})
    log.answered("m", "query-block", b'{"return": {}}' + b" " * 30_000)
    journal = Journal(log)
    entries = list(journal)
    assert 0 < len(entries) < 100
    assert journal.dropped == 1001 - len(entries)
    assert [entry.number for entry in entries] == list(range(journal.dropped, 1001))
    assert journal.text().startswith(f"({journal.dropped} older entries were dropped)")
    assert journal.mark() == 1001
    assert list(journal.since(1001)) == []
    assert len(journal.since(1000)) == 1
    for _ in range(200):
        log.happened(EventRecord("JOB_STATUS_CHANGE", {"id": "j", "status": "null"}, 0, 0))
    assert journal.since(1000).text().startswith(f"({journal.dropped} older")


def test_a_journal_keeps_no_machine() -> None:
    journal = qmpd.Machine().journal
    gc.collect()
    assert len(journal.filter("request")) == 1


def test_on_an_event_loop() -> None:
    async def main() -> None:
        async with qmpd.aio.Machine() as vm:
            await vm.cmd("stop")
            vm.journal.assert_order("stop", "STOP")
        assert vm.journal[-1].data == {"what": "closed"}

    asyncio.run(main())


def test_waits_of_a_virtual_clock_take_no_real_time() -> None:
    began = time.monotonic()
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        with pytest.raises(TimeoutError):
            vm.event_wait("STOP", timeout=3600)
        assert vm.clock.now == 3600
        with pytest.raises(TimeoutError):
            vm.get_qmp_event(wait=3600.0)
        assert vm.clock.now == 7200
    assert time.monotonic() - began < 60


def test_kinds_are_described() -> None:
    assert all(KINDS.values())


def test_clients_of_nbd(tmp_path: Path) -> None:
    path = str(tmp_path / "nbd")
    with qmpd.Machine(disks={"disk0": "1M"}, clock="real") as vm, vm.serve():
        vm.cmd("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert client.recv(8) == b"NBDMAGIC"
        while len(vm.journal.filter("connection")) < 3:
            vm.cmd("query-status")
        clients = [entry.data for entry in vm.journal.filter("connection")][-2:]
    assert clients == [{"what": what, "server": "nbd"} for what in ("opened", "closed")]
