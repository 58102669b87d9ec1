"""A program that speaks QMP on its standard input and output."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

MOMENT: Final = 3
"""Milliseconds in which a program that is asked for nothing has come to rest."""


class Gone(Exception):
    """The program has closed its output."""


class StdioProgram:
    """A running program.

    :param argv: its command line; the monitor is on standard input and output
    :param cwd: its working directory
    """

    def __init__(self, argv: list[str], cwd: Path, timeout: float = 20.0) -> None:
        self.timeout = timeout
        self._stderr = open(cwd / f"stderr-{time.monotonic_ns()}", "w+b")  # noqa: SIM115
        self.process = subprocess.Popen(
            argv,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
        )
        self._buffer = b""
        self._poll = select.poll()
        assert self.process.stdout is not None
        self._poll.register(self.process.stdout, select.POLLIN | select.POLLHUP)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) or 0 :]

    def line(self, timeout: float | None = None) -> bytes:
        """The next line, without waiting longer than `timeout` seconds.

        :raises TimeoutError: there was none
        :raises Gone: there will be none
        """
        assert self.process.stdout is not None
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise TimeoutError(f"no line; so far {self._buffer!r}")
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            if not chunk:
                raise Gone(self.stderr())
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def message(self, timeout: float | None = None) -> Any:
        """The next line that is a QMP message; members keep their order."""
        while True:
            line = self.line(timeout)
            if line.startswith(b"{"):
                return json.loads(line)

    def execute(self, request: Any) -> list[Any]:
        """Send a request; its answer and all that came before it."""
        self.send(json.dumps(request).encode() + b"\n")
        messages = [self.message()]
        while "return" not in messages[-1] and "error" not in messages[-1]:
            messages.append(self.message())
        return messages

    def at_work(self) -> bool:
        """Whether a thread of the program runs, or would if it were given a processor.

        It is given a moment to be done with what it was asked.
        """
        self._poll.poll(MOMENT)
        for stat in Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
            with suppress(OSError):
                if stat.read_text().rpartition(")")[2].split()[0] in "RD":
                    return True
        return False

    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode("utf-8", "replace")

    def close(self) -> int:
        """End the program and return its status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self.process.stdout.close()
        self._stderr.close()
        return self.process.returncode
