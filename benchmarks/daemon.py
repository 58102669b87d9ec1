"""A daemon under measurement, and a client that costs little itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from benchmarks.priority import raise_priority

STORAGE_OPTIONS = (
    *("--chardev", "socket,id=mon,path={path},server=on,wait=off"),
    *("--monitor", "mon", "--pidfile", "{pid_file}"),
)
SYSTEM_OPTIONS = (
    *("-machine", "none", "-nodefaults", "-display", "none"),
    *("-qmp", "unix:{path},server=on,wait=off", "-pidfile", "{pid_file}"),
)


MEMORY: Final = Path("/dev/shm")
"""A file system in memory."""


def request(command: str, **arguments: Any) -> bytes:
    """A request as it goes over the wire."""
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"


def storage_daemons() -> dict[str, list[str]]:
    """Command line of each storage daemon; QEMU's only where it is installed."""
    return _both("qmpd.cli.storage_daemon.main", "qemu-storage-daemon", STORAGE_OPTIONS)


def system_emulators() -> dict[str, list[str]]:
    """Command line of each system emulator; QEMU's only where it is installed."""
    return _both("qmpd.cli.system.main", "qemu-system-x86_64", SYSTEM_OPTIONS)


def _both(module: str, program: str, options: tuple[str, ...]) -> dict[str, list[str]]:
    found = {"qmpd": [sys.executable, "-I", "-m", module, *options]}
    real = shutil.which(program)
    if real is not None:
        found["QEMU"] = [real, *options]
    return found


class Daemon:
    """A storage daemon with one monitor, and a client past negotiation.

    :param command: its command line, ``{path}`` where the monitor's socket goes
        and ``{pid_file}`` where it says that it is set up
    :param in_memory: images are in memory: qmpd's, or a file system
    :param first: comes before all ordinary processes (`raise_priority`)
    """

    def __init__(self, command: list[str], *, in_memory: bool = False, first: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="qmpd-bench", dir=MEMORY if in_memory else None
        )
        self.folder = self._folder.name
        """Where images go."""
        path, pid_file = Path(self.folder) / "qmp.sock", Path(self.folder) / "pid"
        environment = dict(os.environ, QMPD_STORAGE="memory" if in_memory else "host")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [word.format(path=path, pid_file=pid_file) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            preexec_fn=raise_priority if first else None,
        )
        self._buffer = b""
        self._ended = False
        self._awaited = "null"
        # Before, two threads of QEMU's daemon may read from the same connection.
        self._await(pid_file.exists)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(120)
        self._await(lambda: self._socket.connect_ex(str(path)) == 0)
        self.lines(1)
        self.start_seconds = time.perf_counter() - began
        """From the start of the process to its greeting."""
        self.execute("qmp_capabilities")

    def _await(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.process.args!r} has ended")
            os.sched_yield()

    def lines(self, count: int) -> bytes:
        """Read `count` lines."""
        data = self._buffer
        seen = data.count(b"\n")
        chunks = [data]
        while seen < count:
            chunk = self._socket.recv(1 << 20)
            if not chunk:
                raise RuntimeError("connection closed")
            seen += chunk.count(b"\n")
            chunks.append(chunk)
        *wanted, rest = b"".join(chunks).rsplit(b"\n", seen - count + 1)
        data = wanted[0] + b"\n"
        self._buffer = b"".join(line + b"\n" for line in wanted[1:]) + rest
        return data

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its value."""
        return self.answer(request(command, **arguments))

    def answer(self, line: bytes) -> Any:
        """Send a request and return its value."""
        self._socket.sendall(line)
        reply: dict[str, Any] = {}
        while "return" not in reply and "error" not in reply:
            # events come in between
            reply = json.loads(self.lines(1))
            self._note(reply)
        if "error" in reply:
            raise RuntimeError(f"{line!r}: {reply['error']['desc']}")
        return reply["return"]

    def _note(self, message: dict[str, Any]) -> None:
        data = message.get("data", {})
        self._ended = self._ended or data.get("status") == self._awaited
        if "error" in data:
            raise RuntimeError(f"{message['event']}: {data['error']}")

    def run_job(self, command: str, *, until: str = "null", **arguments: Any) -> float:
        """Run a command on the only job; seconds until it has status `until`: is forgotten."""
        self._ended, self._awaited = False, until
        began = time.perf_counter()
        self.execute(command, **arguments)
        while not self._ended:
            self._note(json.loads(self.lines(1)))
        return time.perf_counter() - began

    def job(self, command: str, **arguments: Any) -> None:
        """Run a command that starts the only job, and see it to its end."""
        self.execute(command, **arguments)
        while self.execute("query-jobs")[0]["status"] != "concluded":
            os.sched_yield()
        error = self.execute("query-jobs")[0].get("error")
        if error is not None:
            raise RuntimeError(f"{command}: {error}")
        self.execute("job-dismiss", id=arguments["job-id"])

    def stream(self, requests: list[bytes]) -> None:
        """Send requests without waiting; returns when the last is answered."""
        sender = threading.Thread(target=self._socket.sendall, args=(b"".join(requests),))
        sender.start()
        self.lines(len(requests))
        sender.join()

    @property
    def socket(self) -> socket.socket:
        """The connection to its monitor."""
        return self._socket

    def raw(self, line: bytes) -> bytes:
        """Send a request and return its answer as it is."""
        self._socket.sendall(line)
        return self.lines(1)

    def latencies(self, request: bytes, count: int) -> list[float]:
        """Seconds of each of `count` requests, one after the other, sorted."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            self._socket.sendall(request)
            self.lines(1)
            times.append(time.perf_counter() - began)
        return sorted(times)

    def pipelined(self, request: bytes, count: int) -> float:
        """Requests per second, all sent without waiting."""
        began = time.perf_counter()
        self.stream([request] * count)
        return count / (time.perf_counter() - began)

    def resident_bytes(self) -> int:
        """Memory of the process that is resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self.process.terminate()
        self.process.wait()
        self._folder.cleanup()
