"""The qtest channel: a harness steps the machine's virtual clock (``-qtest``)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from qmpd.loop.clock import VirtualClock
    from qmpd.server.chardev.chardev import Chardev


class QtestChannel:
    """Frontend that reads commands line by line and answers each with OK or FAIL.

    :param clock: what clock_step and clock_set move; None when the accelerator
        is not qtest, and these commands are not known
    :param log: gets every line, both ways, with its time; None: no log
    """

    def __init__(self, chardev: Chardev, clock: VirtualClock | None, log: TextIO | None) -> None:
        self._chardev = chardev
        self._clock = clock
        self._log = log
        self._partial = b""
        self._since = time.monotonic()
        chardev.attach(self)

    def opened(self) -> None:
        """A harness came."""
        self._since = time.monotonic()
        self._write_log(f"[I {self._elapsed():.6f}] OPENED")

    def closed(self) -> None:
        """The harness went."""
        self._partial = b""
        self._write_log(f"[I +{self._elapsed():.6f}] CLOSED")

    def drained(self) -> None:
        """Output has room again: nothing waits for that."""

    def feed(self, data: bytes) -> None:
        """Commands, or parts of them."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace")
            self._write_log(f"[R +{self._elapsed():.6f}] {text}")
            answer = self._answer(text.split())
            self._write_log(f"[S +{self._elapsed():.6f}] {answer}")
            self._chardev.write(answer.encode() + b"\n")

    def _elapsed(self) -> float:
        return time.monotonic() - self._since

    def _write_log(self, line: str) -> None:
        if self._log is not None:
            self._log.write(line + "\n")
            self._log.flush()

    def _answer(self, words: list[str]) -> str:
        name = words[0] if words else ""
        try:
            if self._clock is not None and name == "clock_step":
                return self._step(self._clock, words[1:])
            if self._clock is not None and name == "clock_set" and len(words) > 1:
                now = self._clock.now()
                self._clock.advance(max(0, int(words[1], 0) - now))
                return f"OK {self._clock.now()}"
        except ValueError:
            return f"FAIL {words[1]} is no number of nanoseconds"
        if name == "endianness":
            return "OK little"
        return f"FAIL Unknown command '{name}'"

    @staticmethod
    def _step(clock: VirtualClock, arguments: list[str]) -> str:
        before = clock.now()
        if arguments:
            clock.advance(max(0, int(arguments[0], 0)))
        elif (due := clock.next_due()) is not None:
            clock.advance(due - before)
        verdict = "OK" if clock.now() > before else "FAIL"
        return f"{verdict} {clock.now()}"
