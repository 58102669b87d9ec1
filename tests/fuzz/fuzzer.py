"""What a fuzzer is, and the daemon under one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from subprocess import TimeoutExpired
from typing import Any, ClassVar, Final

from tests.exhaustion.beside import Client, Daemon

LIMIT: Final = 20.0
"""Seconds within which everything is answered, on a machine that has others to serve as well."""

PATIENCE: Final = 15.0
"""Seconds within which a daemon gives back what it has no use for: it looks every five."""

STILL: Final = 1.0
"""Seconds without a change of its memory after which a daemon that nobody asks has settled."""

TRACES: Final = ("Traceback", "internal error", "never awaited", "never retrieved")
"""What a daemon says, on standard error or in an answer, of what nobody foresaw."""


class Failed(Exception):
    """What must not happen has happened."""


class Leaked(Failed):
    """Memory or descriptors are not given back; no single input is to blame."""


class Fuzzer(ABC):
    """Makes inputs, and gives them to a daemon.

    :param daemon: newly started
    """

    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ("--disk", "disk0=1M")
    """Of ``qmpd serve``."""
    life: ClassVar[int] = 20_000
    """Inputs after which a daemon has to end, well, and the next one begins."""
    warm_up: ClassVar[int] = 500
    """Inputs after which the daemon has all that it needs."""
    memory: ClassVar[int] = 12 << 20
    """Bytes that it may grow by from then on."""
    descriptors: ClassVar[int] = 0
    """How many more descriptors it may have from then on."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.begin()

    @staticmethod
    @abstractmethod
    def make(chance: Random) -> Any:
        """Make an input: a value that fits into JSON."""

    @abstractmethod
    def begin(self) -> None:
        """Make the daemon ready for inputs."""

    @abstractmethod
    def play(self, made: Any) -> int:
        """Give it an input, and wait until that is over; returns for how many it counts.

        :raises Failed: what must not happen has happened
        """

    @abstractmethod
    def leave(self) -> None:
        """Close all connections."""

    def do(self, command: str, **arguments: Any) -> None:
        """Run a command that must not fail, on a monitor of its own."""
        client = self.daemon.client()
        answer = client.execute(command, **arguments)
        client.close()
        assert "return" in answer, answer


def sound(answer: bytes) -> bytes:
    """An answer, unless it tells of something that nobody foresaw.

    :raises Failed: it does
    """
    for trace in TRACES:
        if trace.encode() in answer:
            raise Failed(f"an answer says {answer[:2000]!r}")
    return answer


class Life:
    """One daemon's: what it was given, and whether it is well.

    :param kind: whose inputs it gets
    :param folder: where its files are
    """

    def __init__(self, kind: type[Fuzzer], folder: Path) -> None:
        self.kind = kind
        self.played: list[Any] = []
        """All its inputs."""
        self.count = 0
        """What they count for."""
        self._daemon = Daemon(folder, *kind.options)
        self._quiet = Client(folder / "quiet", timeout=LIMIT)
        self._fuzzer = kind(self._daemon)
        self._warm: tuple[int, int] | None = None

    def play(self, made: Any) -> None:
        """Give it an input, and see whether it is alive.

        :raises Failed: it is not well
        """
        self.played.append(made)
        try:
            self.count += self._fuzzer.play(made)
            self._quiet.execute("query-version")
        except (OSError, EOFError) as error:
            self._look_at_words()
            status = self._daemon.process.poll()
            state = "runs" if status is None else f"ended: {status}"
            raise Failed(f"no answer: {error!r}; the daemon {state}") from error

    def look(self, *, patience: float = PATIENCE) -> None:
        """See whether it is well.

        :param patience: seconds that it has for giving back what it has
        :raises Failed: it is not
        """
        self._look_at_words()
        if len(self.played) < self.kind.warm_up:
            return
        if self._warm is None:
            self._warm = self._settled(patience), self._daemon.descriptors
            return
        memory, descriptors = self._warm
        deadline = time.monotonic() + patience
        while (leak := self._more_than(memory, descriptors)) is not None:
            if time.monotonic() > deadline:
                raise Leaked(leak)
            time.sleep(0.01)

    def _more_than(self, memory: int, descriptors: int) -> str | None:
        """What it has too much of, compared with when it was warm."""
        now = self._daemon.memory
        if now > memory + self.kind.memory:
            return f"memory: {memory >> 10} KiB have become {now >> 10}"
        if self._daemon.descriptors > descriptors + self.kind.descriptors:
            return f"descriptors: {descriptors} have become {self._daemon.descriptors}"
        return None

    def _settled(self, patience: float) -> int:
        """Its memory, when it does no more: it loads what it may need while nobody asks."""
        memory, still = self._daemon.memory, time.monotonic()
        deadline = still + patience
        while still + STILL > time.monotonic() < deadline:
            time.sleep(0.05)
            now = self._daemon.memory
            if now != memory:
                memory, still = now, time.monotonic()
        return memory

    def _look_at_words(self) -> None:
        said = self._daemon.errors.read_text("utf-8", "replace")
        if any(trace in said for trace in TRACES):
            raise Failed(f"standard error: {said[-4000:]}")

    def end(self) -> None:
        """Have it end.

        :raises Failed: it does not, or not well
        """
        self._leave()
        try:
            self._daemon.end()
        except (AssertionError, TimeoutExpired) as error:
            status = self._daemon.process.returncode
            raise Failed(f"it does not end well: status {status}") from error
        self._look_at_words()

    def _leave(self) -> None:
        with suppress(OSError):
            self._fuzzer.leave()
        self._quiet.close()

    def kill(self) -> None:
        """End it at once."""
        self._leave()
        self._daemon.process.kill()
        self._daemon.process.wait()


@contextmanager
def life(kind: type[Fuzzer], folder: Path) -> Iterator[Life]:
    """A daemon that ends well, or is killed."""
    made = Life(kind, folder)
    try:
        yield made
        made.look()
        made.end()
    except BaseException:
        made.kill()
        raise
