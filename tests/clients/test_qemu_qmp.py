"""qemu.qmp's own clients: the asynchronous one, and the synchronous one of old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import ExecuteError, QMPClient
from qemu.qmp.legacy import QEMUMonitorProtocol


async def test_async_client(socket_path: Path) -> None:
    client = QMPClient("test")
    await client.connect(str(socket_path))
    try:
        version: Any = await client.execute("query-version")
        assert version["qemu"] == {"major": 10, "minor": 0, "micro": 2}
        bitmap = {"node": "disk0", "name": "b"}
        await client.execute("block-dirty-bitmap-add", bitmap)
        with pytest.raises(ExecuteError) as caught:
            await client.execute("block-dirty-bitmap-add", bitmap)
        assert caught.value.error_class == "GenericError"
        assert str(caught.value) == "Bitmap already exists: b"
        with client.listener("STOP") as listener:
            await client.execute("stop")
            assert (await listener.get())["event"] == "STOP"
    finally:
        await client.disconnect()


async def test_next_client_is_greeted_when_the_first_leaves(socket_path: Path) -> None:
    for _ in range(3):
        client = QMPClient("test")
        await client.connect(str(socket_path))
        status: Any = await client.execute("query-status")
        assert status["status"] == "running"
        await client.disconnect()


def test_legacy_client(socket_path: Path) -> None:
    monitor = QEMUMonitorProtocol(str(socket_path))
    greeting = monitor.connect()
    assert greeting is not None
    assert greeting["QMP"]["capabilities"] == ["oob"]
    status: Any = monitor.cmd("query-status")
    assert status["running"] is True
    assert monitor.cmd_raw("nosuch")["error"]["class"] == "CommandNotFound"
    monitor.cmd("stop")
    event = monitor.pull_event(wait=5.0)
    assert event is not None
    assert event["event"] == "STOP"
    monitor.close()
