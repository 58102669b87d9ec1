"""`vm.faults.command`: calls that fail, wait, or are not answered."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import CommandNotFound, DeviceNotFound, GenericError, WaitsForever


def test_the_nth_call_fails_with_class_and_text() -> None:
    with qmpd.Machine() as vm:
        fault = vm.faults.command("query-*", nth=2, error=("DeviceNotFound", "gone for lunch"))
        vm.cmd("query-status")
        with pytest.raises(DeviceNotFound) as caught:
            vm.cmd("query-block")
        assert caught.value.desc == "gone for lunch"
        vm.cmd("query-block")
        assert fault.hits == 1


def test_a_call_that_fails_is_not_run() -> None:
    with qmpd.Machine() as vm:
        with vm.faults.command("blockdev-add", error="no"), pytest.raises(GenericError):
            vm.cmd("blockdev-add", driver="null-co", node_name="n")
        assert vm.nodes == {}


def test_a_delayed_call_holds_up_the_others() -> None:
    with qmpd.Machine(clock="held") as vm:
        vm.faults.command("stop", delay=2)
        with pytest.raises(WaitsForever, match=r"the next timer is due in 2 s"):
            vm.cmd("stop")
        with pytest.raises(WaitsForever):
            vm.cmd("query-status")
        vm.clock.advance(2)
        assert vm.cmd("query-status")["status"] == "paused"


def test_a_lost_answer() -> None:
    with qmpd.Machine() as vm:
        vm.cmd("blockdev-add", driver="null-co", node_name="n")
        with vm.faults.command("blockdev-del", lose_answer=True) as fault:
            with pytest.raises(WaitsForever):
                vm.cmd("blockdev-del", node_name="n")
            with pytest.raises(WaitsForever):
                vm.cmd("blockdev-del", node_name="it fails, and nobody knows")
            assert fault.hits == 2
        assert vm.nodes == {}
        assert vm.cmd("query-status")["running"] is True


def lines(client: socket.socket, count: int) -> list[dict[str, Any]]:
    data = b""
    while data.count(b"\n") < count:
        data += client.recv(65536)
    return [json.loads(line) for line in data.splitlines()]


def test_a_client_at_a_socket_waits_for_what_is_lost() -> None:
    with qmpd.Machine() as vm, vm.serve() as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}')
        lines(client, 2)
        vm.faults.command("query-status", nth=1, lose_answer=True)
        vm.faults.command("query-name", error="tells nobody")
        vm.faults.command("migrate-pause", error="oob, too", delay=3600)
        requests = [
            {"execute": "query-status", "id": 1},
            {"execute": "query-name", "id": 2},
            {"exec-oob": "migrate-pause", "id": 3},
            {"execute": "query-uuid", "id": 4},
        ]
        client.sendall(b"\n".join(json.dumps(request).encode() for request in requests))
        answers = {answer["id"]: answer for answer in lines(client, 3)}
        assert answers[2]["error"] == {"class": "GenericError", "desc": "tells nobody"}
        assert answers[3]["error"]["desc"] == "oob, too"
        assert "return" in answers[4]


def test_what_is_refused_before_negotiation_is_no_call() -> None:
    with qmpd.Machine() as vm, vm.serve() as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        fault = vm.faults.command("query-status", error="no")
        client.sendall(b'{"execute": "query-status"}')
        assert lines(client, 2)[1]["error"]["class"] == CommandNotFound.error_class
        assert fault.hits == 0


async def test_on_an_event_loop() -> None:
    async with aio.Machine() as vm:
        vm.faults.command("query-status", nth=1, lose_answer=True)
        vm.faults.command("query-name", nth=1, delay=100)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await vm.cmd("query-status")
        await asyncio.gather(vm.cmd("query-name"), vm.cmd("query-status"))
        assert vm.faults.unused() == []


def test_after_a_restart() -> None:
    with qmpd.Machine() as vm:
        vm.faults.command("query-status", error="no")
        vm.restart()
        with pytest.raises(GenericError, match="no"):
            vm.cmd("query-status")


@pytest.mark.parametrize(
    ("name", "arguments", "error", "text"),
    [
        (
            "query-statu",
            {"delay": 1},
            LookupError,
            "there is no command 'query-statu'; ",
        ),
        (
            "query-status",
            {},
            ValueError,
            "say what is to happen: 'error'",
        ),
        ("stop", {"delay": -1}, ValueError, "delay is -1"),
        ("stop", {"delay": 1, "nth": 0}, ValueError, "nth is 0; it must be at least 1"),
        (
            "stop",
            {"error": ("Oops", "x")},
            ValueError,
            "there is no error class 'Oops'; it",
        ),
        ("stop", {"error": "x", "lose_answer": True}, ValueError, "cannot 'lose_answer'"),
    ],
)
def test_what_makes_no_sense(
    name: str, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with qmpd.Machine() as vm:
        with pytest.raises(error) as caught:
            vm.faults.command(name, **arguments)
        assert text in str(caught.value)
