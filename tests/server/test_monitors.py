"""QMP monitors on unix sockets: clients come, speak and go."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from qmpd.errors import GenericError
from qmpd.loop.task import Waiter
from qmpd.monitor import qmp_monitor, qmp_output
from qmpd.server.address import UnixAddress
from qmpd.server.chardev.socket import SocketChardev
from qmpd.wire.session import Request, Session
from tests.server.conftest import NEGOTIATE, Served


async def test_replies_in_order_however_bytes_are_cut(served: Served) -> None:
    client = await served.negotiated()
    data = b"".join(b'{"execute": "query-status", "id": %d}' % number for number in range(50))
    for start in range(0, len(data), 7):
        client.send(data[start : start + 7])
        await asyncio.sleep(0)
    assert [(await client.message())["id"] for _ in range(50)] == list(range(50))


async def test_second_client_waits_ungreeted(served: Served) -> None:
    first = await served.negotiated()
    second = await served.connect(greeted=False)
    second.send(NEGOTIATE)
    for _ in range(5):
        assert "return" in await first.ask(b'{"execute": "query-status"}')
    assert not second.reader._buffer  # type: ignore[attr-defined]
    await first.close()
    assert "QMP" in await second.message()
    assert await second.message() == {"return": {}}


async def test_partial_input_is_dropped_and_negotiation_reset(served: Served) -> None:
    first = await served.negotiated()
    first.send(b'{"execute": "query-st')
    await first.close()
    second = await served.connect()
    answer = await second.ask(b'{"execute": "query-status"}')
    assert answer["error"]["class"] == "CommandNotFound"


async def test_events_reach_all_that_have_negotiated(served: Served) -> None:
    asker, other = await served.negotiated("m0"), await served.connect("m1")
    asker.send(b'{"execute": "stop"}')
    assert (await asker.message())["event"] == "STOP"
    assert await asker.message() == {"return": {}}
    assert await other.ask(NEGOTIATE) == {"return": {}}
    asker.send(b'{"execute": "cont"}')
    assert (await other.message())["event"] == "RESUME"


async def test_half_closed_client_is_answered(served: Served) -> None:
    client = await served.connect()
    client.send(NEGOTIATE + b'{"execute": "query-status"}' * 20)
    client.writer.write_eof()
    answers = [await client.message() for _ in range(21)]
    assert all("return" in answer for answer in answers)
    assert await client.at_end()


async def test_quit_shuts_down_before_the_reply_and_discards_the_rest(served: Served) -> None:
    client = await served.negotiated()
    client.send(b'{"execute": "quit"}{"execute": "query-status"}')
    assert (await client.message())["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert await client.message() == {"return": {}}
    await asyncio.wait_for(served.ended.wait(), 10)
    served.server.close()
    assert await client.at_end()
    assert not os.path.exists(served.folder / "m0")  # noqa: ASYNC240


class Slow:
    """A dispatch in which command ``slow`` waits and all others return their name."""

    def __init__(self) -> None:
        self.waiter = Waiter()
        self.ran: list[str] = []

    async def __call__(self, session: Session, request: Request) -> str:
        if request.command == "qmp_capabilities":
            session.negotiate((request.arguments or {}).get("enable", []))  # type: ignore[arg-type]
        if request.command == "slow":
            await self.waiter
        self.ran.append(request.command)
        return request.command


def replace_dispatch(served: Served) -> Slow:
    slow = Slow()
    for monitor in served.monitors:
        monitor._dispatch = slow
    return slow


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_command_of_a_client_that_left_completes_and_its_answer_is_lost(
    served: Served,
) -> None:
    slow = replace_dispatch(served)
    first = await served.connect()
    first.send(b'{"execute": "slow"}{"execute": "never"}')
    await turns()
    await first.close()
    second = await served.connect()
    second.send(b'{"execute": "next"}')
    await turns()
    assert slow.ran == []
    slow.waiter.wake()
    assert await second.message() == {"return": "next"}
    assert slow.ran == ["slow", "next"]


async def test_slow_command_holds_up_the_other_monitor(served: Served) -> None:
    slow = replace_dispatch(served)
    first, second = await served.connect("m0"), await served.connect("m1")
    first.send(b'{"execute": "slow"}{"execute": "a"}')
    await turns()
    second.send(b'{"execute": "b"}')
    await turns()
    assert slow.ran == []
    slow.waiter.wake()
    assert await second.message() == {"return": "b"}
    assert await first.message() == {"return": "slow"}
    assert await first.message() == {"return": "a"}


async def test_out_of_band_jumps_the_queue(served: Served) -> None:
    slow = replace_dispatch(served)
    client = await served.connect()
    enable = b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}'
    assert await client.ask(enable) == {"return": "qmp_capabilities"}
    client.send(b'{"execute": "slow"}{"execute": "queued"}{"exec-oob": "urgent"}')
    assert await client.message() == {"return": "urgent"}
    slow.waiter.wake()
    assert await client.message() == {"return": "slow"}
    assert await client.message() == {"return": "queued"}


async def test_eight_requests_are_read_ahead_with_oob(served: Served) -> None:
    slow = replace_dispatch(served)
    client = await served.connect()
    await client.ask(b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}')
    queued = b'{"execute": "q"}' * qmp_monitor.QUEUE_LENGTH
    client.send(b'{"execute": "slow"}' + queued + b'{"exec-oob": "late"}')
    await turns(50)
    assert slow.ran == ["qmp_capabilities"]
    slow.waiter.wake()
    answers = [(await client.message())["return"] for _ in range(10)]
    assert answers[0] == "slow"
    assert sorted(answers[1:]) == ["late"] + ["q"] * 8


async def test_client_that_does_not_read_is_not_served_on(served: Served) -> None:
    slow = replace_dispatch(served)
    chardev = served.chardevs[0]
    client = await served.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    request = b'{"execute": "%s"}' % (b"x" * 60000)
    for _ in range(200):
        client.send(request)
        await turns(2)
    held = len(slow.ran)
    assert held < 200
    assert chardev.congested
    assert chardev.backlog < 3 << 20
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(200):
        await asyncio.wait_for(client.reader.readuntil(b"\n"), 10)
    assert len(slow.ran) == 200


async def test_client_that_ignores_events_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp_output, "BACKLOG_LIMIT", 100_000)
    client = await served.negotiated()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    chardev = served.chardevs[0]
    emitted = 0
    while chardev.is_open:
        served.machine.events.emit("X", {"text": "y" * 10_000})
        emitted += 1
        assert emitted < 1000
    await served.negotiated()


async def test_monitor_in_use(served: Served) -> None:
    with pytest.raises(GenericError, match="chardev 'm0' is already in use"):
        served.server.add_qmp(served.chardevs[0])


async def test_closing_takes_socket_files_away(tmp_path: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "m0"))
    stale.close()
    served = Served(tmp_path, 1)
    await served.negotiated()
    served.server.close()
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


async def test_connecting_monitor_greets_and_comes_back(tmp_path: Path) -> None:
    served = Served(tmp_path, 0)
    greeted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def harness(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"QMP" in await reader.readline()
        greeted.put_nowait(writer)

    address = UnixAddress(str(tmp_path / "harness"))
    chardev = SocketChardev("c", served.server.loop, address, server=False, reconnect=0.01)
    served.server.chardevs.add(chardev)
    served.server.add_qmp(chardev)
    chardev.start()
    assert chardev.filename == f"disconnected:unix:{tmp_path / 'harness'}"
    server = await asyncio.start_unix_server(harness, tmp_path / "harness")
    for _ in range(2):
        writer = await asyncio.wait_for(greeted.get(), 10)
        assert chardev.filename == f"unix:{tmp_path / 'harness'}"
        writer.close()
    served.server.close()
    server.close()
