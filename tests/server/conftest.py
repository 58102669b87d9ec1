"""A served machine on sockets, inside the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.loop.asyncio_clock import LoopClock
from qmpd.server.address import UnixAddress
from qmpd.server.chardev.socket import SocketChardev
from qmpd.server.server import Server
from tests.support.services import bare_machine

NEGOTIATE = b'{"execute": "qmp_capabilities"}'


class Client:
    """A QMP client of raw lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def message(self) -> Any:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 10))

    async def ask(self, data: bytes) -> Any:
        self.send(data)
        return await self.message()

    async def at_end(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 10) == b""

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Served:
    """A server with unix monitors ``m0``, ``m1``... in `folder`."""

    def __init__(self, folder: Path, monitors: int) -> None:
        loop = asyncio.get_running_loop()
        self.server = Server(loop, lambda host: bare_machine(LoopClock(loop), host=host))
        self.machine = self.server.machine
        self.ended = asyncio.Event()
        self.server.on_ended = self.ended.set
        self.folder = folder
        self.chardevs = [self.add_socket(f"m{number}") for number in range(monitors)]
        self.monitors = [self.server.add_qmp(chardev) for chardev in self.chardevs]
        self.server.start()

    def add_socket(self, name: str) -> SocketChardev:
        address = UnixAddress(str(self.folder / name))
        chardev = SocketChardev(name, self.server.loop, address, server=True)
        self.server.chardevs.add(chardev)
        return chardev

    async def connect(self, name: str = "m0", *, greeted: bool = True) -> Client:
        client = Client(*await asyncio.open_unix_connection(str(self.folder / name)))
        if greeted:
            assert "QMP" in await client.message()
        return client

    async def negotiated(self, name: str = "m0") -> Client:
        client = await self.connect(name)
        assert await client.ask(NEGOTIATE) == {"return": {}}
        return client


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    result = Served(tmp_path, 2)
    yield result
    result.server.close()
