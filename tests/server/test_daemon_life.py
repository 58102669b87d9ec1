"""A daemon from outside: sockets, clients that come and go, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest


class Client:
    """A plain client of a unix or TCP socket."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(address)
        self.stream = self.socket.makefile("rb")

    def message(self) -> Any:
        line = self.stream.readline()
        return json.loads(line) if line else None

    def send(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def execute(self, command: str, **arguments: Any) -> Any:
        self.send(json.dumps({"execute": command, "arguments": arguments}))
        return self.message()

    def negotiated(self) -> Client:
        assert "QMP" in self.message()
        assert self.execute("qmp_capabilities") == {"return": {}}
        return self

    def close(self) -> None:
        self.stream.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Served:
    """A running `qmpd serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.path = folder / "qmp.sock"
        argv = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve"]
        argv += ["--qmp", f"unix:{self.path}", "--ready-fd", "1", *options]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=folder)
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the daemon did not get ready"

    def client(self) -> Client:
        return Client(str(self.path))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path, "--disk", "disk0=64M", "--pidfile", "pid", "--log-qmp", "qmp.log")
    yield served
    served.close()


def test_the_socket_is_private_and_goes_with_the_daemon(served: Served, tmp_path: Path) -> None:
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
    assert int((tmp_path / "pid").read_text()) == served.process.pid
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(10) == 0
    assert not served.path.exists()
    assert not (tmp_path / "pid").exists()


def test_a_stale_socket_file_is_replaced(served: Served, tmp_path: Path) -> None:
    served.process.kill()
    served.process.wait(10)
    assert served.path.exists()
    again = Served(tmp_path)
    again.client().negotiated().close()
    again.close()


def test_a_second_client_waits_for_the_first_to_leave(served: Served) -> None:
    first = served.client().negotiated()
    second = served.client()
    second.send('{"execute": "qmp_capabilities", "id": 1}')
    second.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        second.message()
    second.close()
    third = served.client()
    third.send('{"execute": "qmp_capabilities", "id": 1}')
    first.close()
    assert "QMP" in third.message()
    assert third.message() == {"return": {}, "id": 1}
    third.close()


def test_a_session_ends_with_its_connection(served: Served) -> None:
    first = served.client().negotiated()
    first.execute("block-dirty-bitmap-add", node="disk0", name="b")
    first.send('{"execute": "query-')
    first.close()
    second = served.client()
    assert "QMP" in second.message()
    refused = second.execute("query-status")
    assert refused["error"]["class"] == "CommandNotFound"
    second.execute("qmp_capabilities")
    assert second.execute("block-dirty-bitmap-remove", node="disk0", name="b") == {"return": {}}
    second.close()


def test_sigterm_is_a_shutdown(served: Served) -> None:
    client = served.client().negotiated()
    os.kill(served.process.pid, signal.SIGTERM)
    event = client.message()
    assert event["event"] == "SHUTDOWN"
    assert event["data"] == {"guest": False, "reason": "host-signal"}
    assert client.message() is None
    assert served.process.wait(10) == 0
    client.close()


def test_quit_answers_last(served: Served, tmp_path: Path) -> None:
    client = served.client().negotiated()
    client.send('{"execute": "quit"}{"execute": "query-status"}')
    assert client.message()["event"] == "SHUTDOWN"
    assert client.message() == {"return": {}}
    assert client.message() is None
    assert served.process.wait(10) == 0
    lines = [json.loads(line) for line in (tmp_path / "qmp.log").read_text().splitlines()]
    assert any("quit" in json.dumps(line) for line in lines)
    client.close()


def _resident(served: Served) -> int:
    """KiB of memory that a daemon has."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith("VmRSS")).split()[1])


@pytest.mark.slow
def test_jobs_give_their_memory_back(served: Served) -> None:
    client = served.client().negotiated()
    for name in ("source", "target"):
        client.execute("blockdev-add", driver="null-co", size=1 << 20, **{"node-name": name})
    backup = {"job-id": "j", "device": "source", "target": "target"}

    def run_jobs(count: int) -> None:
        for number in range(count):
            options = {**backup, "sync": "none" if number % 2 else "full"}
            client.send(json.dumps({"execute": "blockdev-backup", "arguments": options}))
            if number % 2:
                client.send('{"execute": "job-cancel", "arguments": {"id": "j"}}')
            while client.message().get("data", {}).get("status") != "null":
                pass

    # by then all modules are loaded
    run_jobs(3000)
    before = _resident(served)
    run_jobs(5000)
    # what the C library keeps rises and falls by as much as 800 KiB; 300 bytes of each job are more
    assert _resident(served) - before < 1500
    client.close()


def test_a_crowd_of_requests_and_a_slow_reader(served: Served) -> None:
    client = served.client().negotiated()
    count = 20000
    request = json.dumps({"execute": "query-named-block-nodes"}).encode()
    client.socket.setblocking(False)
    sent = 0
    try:
        while sent < count * len(request):
            sent += client.socket.send(request * 64)
    except BlockingIOError:
        pass  # the daemon has stopped to read, because nobody reads what it says
    assert sent < count * len(request)
    assert _resident(served) < 200 << 10
    client.close()
    served.client().negotiated().close()


def test_tcp_listens_on_loopback(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = Served(tmp_path, "--qmp", f"tcp::{port}")
    over_tcp = Client(("127.0.0.1", port)).negotiated()
    over_unix = served.client().negotiated()
    over_tcp.execute("query-status")
    over_unix.send('{"execute": "stop", "id": 5}')
    assert over_tcp.message()["event"] == "STOP"
    assert [over_unix.message().get("event"), over_unix.message().get("id")] == ["STOP", 5]
    over_tcp.close()
    over_unix.close()
    served.close()
