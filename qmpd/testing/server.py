"""A daemon for a test: a process of its own behind a unix socket, for a client in any language."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

STOP_SECONDS: Final = 20.0
"""How long a daemon has to end by itself before it is killed."""


class Server:
    """``qmpd serve`` with a unix socket, as long as a block lasts.

    It is a process and not a thread, so that the client meets what it will meet outside of the
    test: a daemon that goes on while the test stops in a debugger, and dies alone.  To hold time,
    or to write as a guest while the client is at work, use `qmpd.Machine.serve`.

    >>> import socket
    >>> with Server("--disk", "disk0=64M") as server:
    ...     with socket.socket(socket.AF_UNIX) as client:
    ...         client.connect(server.path)
    ...         print(client.recv(1000)[:8])
    b'{"QMP": '

    :param options: of ``qmpd serve``, as its command line takes them; ``qmpd serve --help`` lists
        them
    :param path: where the socket is to be; in a directory of its own if absent
    """

    def __init__(self, *options: str, path: str | os.PathLike[str] | None = None) -> None:
        self._options = options
        self._path = None if path is None else os.fspath(path)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        """The daemon; None while it does not run."""
        self.complaints = ""
        """What the daemon wrote to standard error, once it has ended."""

    @property
    def path(self) -> str:
        """The path of the socket.

        :raises RuntimeError: the daemon has not been started, and no path was given
        """
        if self._path is not None:
            return self._path
        if self._folder is None:
            raise RuntimeError("the server has no socket before it is started")
        return f"{self._folder.name}/qmp.sock"

    def start(self) -> Self:
        """Start the daemon; clients can connect when this returns.

        :raises RuntimeError: it runs already, or it ends at once: with what it said
        """
        if self.process is not None:
            raise RuntimeError("the server runs already")
        self._folder = tempfile.TemporaryDirectory(prefix="qmpd-")
        program = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve"]
        where = ["--qmp", f"unix:{self.path}", "--ready-fd", "1"]
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                [*program, *where, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        # a line when it is ready; nothing when it has ended
        if not self.process.stdout.readline():
            status = self.stop()
            raise RuntimeError(f"the server ended with status {status}: {self.complaints.strip()}")
        return self

    @property
    def _log(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "stderr"

    def stop(self) -> int | None:
        """End the daemon, as SIGTERM does: jobs are cancelled and images are closed.

        Stopping a server that does not run does nothing.

        :returns: the process's exit status, negative for the signal that killed it; None if it
            did not run
        """
        process, self.process = self.process, None
        if process is None:
            return None
        process.terminate()
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self.complaints = self._log.read_text(encoding="utf-8", errors="replace")
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        return status

    def kill(self) -> None:
        """End the daemon as ``kill -9`` does: nothing is closed or flushed."""
        if self.process is not None:
            self.process.kill()
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
