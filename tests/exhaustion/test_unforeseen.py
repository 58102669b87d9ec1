"""What nobody foresaw is an error to who asked, and a line in the log; all else goes on."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest

from tests.exhaustion import unforeseen
from tests.exhaustion.beside import Client, Daemon
from tests.exhaustion.cases import hmp
from tests.exhaustion.test_slow_disk import exported
from tests.support.until import until

BACKUP = {"device": "disk0", "target": "disk1", "sync": "full"}
COMPLETED = "BLOCK_JOB_COMPLETED"
ERROR = f"qmpd internal error: RuntimeError: {unforeseen.WORDS}"


@pytest.fixture(params=[(), ("--control", "unix:control")], ids=["plain", "on the bench"])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    options = ("--disk", "disk0=32M", "--disk", "disk1=32M", *request.param)
    daemon = Daemon(tmp_path, *options, program=(sys.executable, unforeseen.__file__))
    yield daemon
    try:
        quiet = daemon.client("quiet")
        assert quiet.execute("query-status")["return"]["running"]
        quiet.close()
        assert daemon.end().count(f"RuntimeError: {unforeseen.WORDS}") == 1
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


def run_job(client: Client, job_id: str, command: str = "blockdev-backup") -> dict[str, object]:
    """The data of the event that ends a job; it may come before the answer."""
    request = {"execute": command, "arguments": {**BACKUP, "job-id": job_id}}
    client.send(json.dumps(request).encode())
    seen = [json.loads(client.line())]
    while not {"return", "data"} <= {
        name for message in seen for name in message if message.get("event") in (None, COMPLETED)
    }:
        seen.append(json.loads(client.line()))
    data: dict[str, object] = next(m["data"] for m in seen if m.get("event") == COMPLETED)
    return data


def test_a_job(daemon: Daemon) -> None:
    client = daemon.client()
    ended = run_job(client, unforeseen.JOB)
    assert (ended["device"], ended["error"]) == (unforeseen.JOB, "Input/output error")
    # nothing has kept hold of the disks
    assert "error" not in run_job(client, "good")
    client.close()


@pytest.mark.parametrize("command", ["blockdev-backup", "blockdev-mirror"])
def test_a_request_of_a_job(daemon: Daemon, command: str) -> None:
    client = daemon.client()
    client.ask(hmp(f'qemu-io disk0 "write -P {unforeseen.BYTE} 1M 64k"'))
    ended = run_job(client, "j", command)
    assert (ended["device"], ended["error"]) == ("j", "Input/output error")
    client.ask(hmp('qemu-io disk0 "write -P 1 1M 64k"'))
    assert "error" not in run_job(client, "good")
    client.close()


def test_the_human_monitor(daemon: Daemon) -> None:
    client = daemon.client()
    answer = json.loads(client.ask(hmp(f'qemu-io disk0 "write -z {unforeseen.OFFSET} 64k"')))
    assert answer == {"error": {"class": "GenericError", "desc": ERROR}}
    assert json.loads(client.ask(hmp('qemu-io disk0 "write -z 0 64k"'))) == {"return": ""}
    client.close()


def test_a_request_of_nbd(daemon: Daemon) -> None:
    monitor = daemon.client()
    with exported(monitor, daemon.folder, "disk0") as client:
        client.sendall(pack(">IHHQQI", 0x25609513, 0, 6, 2, unforeseen.OFFSET, 65536))
        # nobody knows how far it has come: this client, and only this one, is cut off
        assert client.recv(1) == b""
    monitor.execute("block-export-del", id="e")
    monitor.execute("nbd-server-stop")
    with exported(monitor, daemon.folder, "disk0") as client:
        client.sendall(pack(">IHHQQI", 0x25609513, 0, 6, 2, 0, 65536))
        assert client.recv(16, socket.MSG_WAITALL)[4:8] == bytes(4)
    monitor.close()


def test_a_character_device(daemon: Daemon) -> None:
    client = daemon.client()
    client.send(b'{"execute": "' + unforeseen.INPUT + b'"}')
    until(lambda: unforeseen.WORDS in daemon.errors.read_text())
    assert client.execute("query-status")["return"]["running"]
    client.close()


@pytest.mark.parametrize("daemon", [("--control", "unix:control")], indirect=True)
def test_the_control_monitor(daemon: Daemon) -> None:
    client = daemon.client("control")
    answer = client.execute("x-sim-disk-flush", disk="disk0")
    assert answer == {"error": {"class": "GenericError", "desc": ERROR}}
    assert "return" in client.execute("x-sim-disk-write", disk="disk0", offset=0, data="AAAA")
    client.close()
