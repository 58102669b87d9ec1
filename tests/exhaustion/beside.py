"""A daemon, and a quiet monitor beside whatever is done to it: how long does that one wait?

``python -m tests.exhaustion`` measures every case of `tests.exhaustion.cases`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

NEGOTIATE = b'{"execute": "qmp_capabilities"}'
EVERY = 0.005
"""Seconds between two requests of the quiet monitor."""
QUIET = b'{"execute": "query-version"}'


class Client:
    """A client of a monitor, of raw bytes.

    :param path: the monitor's socket
    """

    def __init__(self, path: Path, *, human: bool = False, timeout: float = 60.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self._rest = b""
        if human:
            self.until(b"(qemu) ")
        else:
            self.line()
            self.ask(NEGOTIATE)

    def line(self) -> bytes:
        """The next line, without its end."""
        return self.until(b"\n").rstrip()

    def until(self, end: bytes) -> bytes:
        """All that comes up to `end`, and that.

        :raises EOFError: the peer has left
        """
        parts = [self._rest]
        seen = self._rest
        while end not in seen:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise EOFError
            seen = parts[-1][-len(end) :] + piece
            parts.append(piece)
        whole = b"".join(parts)
        at = whole.index(end) + len(end)
        self._rest = whole[at:]
        return whole[:at]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, data: bytes) -> bytes:
        """The line that answers a request; events before it are passed over."""
        self.send(data)
        while True:
            line = self.line()
            if not line.startswith(b'{"timestamp"'):
                return line

    def execute(self, command: str, **arguments: Any) -> Any:
        """The answer to a command; arguments are given with underscores for dashes."""
        told = {name.replace("_", "-"): value for name, value in arguments.items()}
        return json.loads(self.ask(json.dumps({"execute": command, "arguments": told}).encode()))

    def close(self) -> None:
        self.socket.close()


class Watch:
    """The quiet monitor: one short request after the other, and the longest wait for an answer.

    :param pid: the daemon's process
    """

    def __init__(self, path: Path, pid: int) -> None:
        self._client = Client(path)
        self._tasks = f"/proc/{pid}/task"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.worst = 0.0
        """The longest wait, seconds."""
        self.own = 0.0
        """The same, without the time in which the daemon or this client could have run, but had no
        processor: what else runs on the machine makes waits longer, but hardly these."""

    def _without_processor(self) -> float:
        """Seconds that all threads of the daemon, and this one, have waited for a processor."""
        tasks = [f"{self._tasks}/{task}" for task in os.listdir(self._tasks)]
        total = 0
        for task in (*tasks, f"/proc/self/task/{threading.get_native_id()}"):
            with open(f"{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[1])
        return total / 1e9

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            idle, begin = self._without_processor(), time.monotonic()
            self._client.ask(QUIET)
            wait = time.monotonic() - begin
            self.worst = max(self.worst, wait)
            self.own = max(self.own, wait - (self._without_processor() - idle))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()


class Daemon:
    """A running ``qmpd serve`` with three monitors: for a hostile client, a quiet one, and a human.

    :param folder: where its sockets and what it says on standard error are
    :param options: of ``qmpd serve``
    """

    def __init__(self, folder: Path, *options: str, program: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.errors = folder / "stderr"
        ready, told = os.pipe()
        argv = [*program, sys.executable, "-I", "-m", "qmpd.cli.main", "serve"]
        for name in ("hostile", "quiet"):
            argv += ["--qmp", f"unix:{folder / name}"]
        argv += ["--ready-fd", str(told), *options]
        self.output = folder / "stdout"
        with self.errors.open("wb") as errors, self.output.open("wb") as output:
            self.process = subprocess.Popen(
                argv, cwd=folder, stdout=output, stderr=errors, pass_fds=(told,)
            )
        os.close(told)
        assert os.read(ready, 5) == b"ready", self.errors.read_text()
        os.close(ready)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def memory(self) -> int:
        """Bytes of memory that are its own now."""
        return 1024 * self._status("RssAnon")

    @property
    def peak(self) -> int:
        """The most bytes of memory that it has had at a time."""
        return 1024 * self._status("VmHWM")

    @property
    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _status(self, name: str) -> int:
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name))

    def client(self, name: str = "hostile") -> Client:
        return Client(self.folder / name)

    def watch(self) -> Watch:
        return Watch(self.folder / "quiet", self.pid)

    def end(self) -> str:
        """End it by a signal; returns what it has said on standard error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return self.errors.read_text()


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Daemon]:
    """A daemon, which ends well and has not come across anything that nobody foresaw."""
    daemon = Daemon(folder, *options)
    try:
        yield daemon
        said = daemon.end()
        assert "Traceback" not in said, said
        assert "must not" not in said, said
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
