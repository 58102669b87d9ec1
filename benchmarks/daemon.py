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
from pathlib import Path
from types import TracebackType
from typing import Any

STORAGE_OPTIONS = (
    *("--chardev", "socket,id=mon,path={path},server=on,wait=off"),
    *("--monitor", "mon"),
)
SYSTEM_OPTIONS = (
    *("-machine", "none", "-nodefaults", "-display", "none"),
    *("-qmp", "unix:{path},server=on,wait=off"),
)


def storage_daemons() -> dict[str, list[str]]:
    """Command line of each storage daemon; QEMU's only where it is installed."""
    return _both("qmpd.cli.storage_daemon", "qemu-storage-daemon", STORAGE_OPTIONS)


def system_emulators() -> dict[str, list[str]]:
    """Command line of each system emulator; QEMU's only where it is installed."""
    return _both("qmpd.cli.system", "qemu-system-x86_64", SYSTEM_OPTIONS)


def _both(module: str, program: str, options: tuple[str, ...]) -> dict[str, list[str]]:
    found = {"qmpd": [sys.executable, "-I", "-m", module, *options]}
    real = shutil.which(program)
    if real is not None:
        found["QEMU"] = [real, *options]
    return found


class Daemon:
    """A storage daemon with one monitor, and a client past negotiation.

    :param command: its command line, ``{path}`` where the monitor's socket goes
    """

    def __init__(self, command: list[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qmpd-bench")
        path = Path(self._folder.name) / "qmp.sock"
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [word.format(path=path) for word in command], stderr=subprocess.DEVNULL
        )
        self._buffer = b""
        self._socket = self._greeted(path)
        self.start_seconds = time.perf_counter() - began
        """From the start of the process to its greeting."""
        self.execute("qmp_capabilities")

    def _greeted(self, path: Path) -> socket.socket:
        """A connection that was greeted: QEMU's daemon forgets one that comes very early."""
        while True:
            self._socket = self._connect(path)
            self._socket.settimeout(2)
            try:
                self.lines(1)
            except TimeoutError:
                self._socket.close()
            else:
                self._socket.settimeout(120)
                return self._socket

    def _connect(self, path: Path) -> socket.socket:
        while True:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                client.connect(str(path))
            except OSError:
                client.close()
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.process.args} has ended") from None
                os.sched_yield()
            else:
                return client

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
        return b"".join(chunks)

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its value."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        reply: dict[str, Any] = {}
        while "return" not in reply and "error" not in reply:
            # events come in between, and QEMU's daemon may greet an early client twice
            reply = json.loads(self.lines(1).splitlines()[-1])
        if "error" in reply:
            raise RuntimeError(f"{command}: {reply['error']['desc']}")
        return reply["return"]

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
        sender = threading.Thread(target=self._socket.sendall, args=(request * count,))
        began = time.perf_counter()
        sender.start()
        self.lines(count)
        sender.join()
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
