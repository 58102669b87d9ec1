"""`qmpd.testing.Server`: a daemon for a test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from qmpd.testing import Server


async def _ask(path: str, command: str) -> object:
    qmp = QMPClient("test")
    await qmp.connect(path)
    try:
        return await qmp.execute(command)
    finally:
        await qmp.disconnect()


def test_a_client_finds_a_daemon_with_disks() -> None:
    with Server("--disk", "disk0=1M", "--name", "guest") as server:
        assert asyncio.run(_ask(server.path, "query-name")) == {"name": "guest"}
        path = server.path
    assert not Path(path).parent.exists()
    assert server.process is None
    assert server.stop() is None


def test_it_can_be_started_again(tmp_path: Path) -> None:
    server = Server(path=tmp_path / "qmp.sock")
    assert server.path == str(tmp_path / "qmp.sock")
    for _ in range(2):
        server.start()
        with pytest.raises(RuntimeError, match="runs already"):
            server.start()
        asyncio.run(_ask(server.path, "query-status"))
        assert server.stop() == 0
        assert not os.path.exists(server.path)


def test_it_says_why_it_does_not_start() -> None:
    server = Server("--disk", "disk0=big")
    with pytest.raises(RuntimeError, match="no socket before"):
        _ = server.path
    with pytest.raises(RuntimeError, match=r"status 1: qmpd: --disk: 'big' is no size"):
        server.start()
    assert server.process is None


def test_it_can_be_killed() -> None:
    server = Server().start()
    process = server.process
    assert process is not None
    server.kill()
    assert process.returncode == -9
