"""A program of qmpd that tells of every file that it opens, makes, removes, binds or connects to.

Run as a program: ``watched.py FD MODULE WORDS...`` runs the ``main`` of a module of qmpd, and
writes a line of JSON to the descriptor for each such event that Python knows (`sys.addaudithook`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from qmpd.testing import RemoteMachine

ENDING: Final = 20.0
"""Seconds that a program may take to end."""

WATCHED: Final = ("open", "os.", "socket.bind", "socket.connect", "subprocess.", "shutil.")


@dataclass(frozen=True)
class Touch:
    """One event.

    :param what: its name, such as ``open`` or ``os.remove``
    :param path: the first path in it; "" where there is none
    :param writes: whether a file is opened for writing, or made
    """

    what: str
    path: str
    writes: bool


class Watched:
    """A program that runs, with a QMP client.

    :param module: of the program, such as ``qmpd.cli.serve``
    :param words: its command line, without what says where QMP is
    :param folder: for its socket
    :param under: a program that runs it, such as strace with its options
    """

    def __init__(
        self, folder: Path, module: str, words: Iterable[str], under: Iterable[str] = ()
    ) -> None:
        self.path = str(folder / "qmp.sock")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the program)
        own = [__file__, str(self._log.fileno()), module]
        self.process = subprocess.Popen(
            [*under, sys.executable, *own, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[self._log.fileno()],
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> Self:
        return self

    def client(self) -> RemoteMachine:
        """A client, once there is a line on standard output."""
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read().decode())
        return RemoteMachine(self.path)

    def touched(self) -> list[Touch]:
        """All that it has touched so far."""
        data = os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)
        return [Touch(**json.loads(line)) for line in data.splitlines()]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=ENDING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            if error is None:
                raise
        finally:
            self._log.close()


def serve(folder: Path, *words: str, under: Iterable[str] = ()) -> Watched:
    """``qmpd serve``, with its socket in `folder`; see `Watched`."""
    where = ["serve", "--qmp", f"unix:{folder / 'qmp.sock'}", "--ready-fd", "1"]
    return Watched(folder, "qmpd.cli.main", [*where, *words], under)


def _describe(event: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
    path: Any = arguments[0] if arguments else ""
    if event.startswith("socket."):
        path = arguments[1]
    writes = False
    if event == "open" and isinstance(arguments[2], int):
        writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    return {"what": event, "path": str(path), "writes": writes}


def _main() -> None:
    log, module, *words = sys.argv[1:]
    descriptor = int(log)
    # what is imported later is looked for in the same places
    sys.path[0] = str(Path(__file__).parents[2])

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(WATCHED):
            os.write(descriptor, json.dumps(_describe(event, arguments)).encode() + b"\n")

    sys.argv = [module, *words]
    program = __import__(module, fromlist=["main"])
    from qmpd.cli.process import finish

    sys.addaudithook(watch)
    finish(program.main())


if __name__ == "__main__":
    _main()
