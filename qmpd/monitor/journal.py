"""The record of what passes the monitors of a machine: requests, answers and events.

Every monitor of a machine, QMP or human, on a socket or in the same process, hands what it
takes and what it writes to the machine's `Tap`, where there is one.  `Journal` is one that numbers
and stamps it, and passes it on: `JournalFile` writes it down (``--log-qmp``), a program may
give any function that takes an `Entry`.  The journal of the test bench is another
(`qmpd.sim.journal`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

if TYPE_CHECKING:
    from qmpd.wire.session import BadRequest, Request


class Tap(Protocol):
    """Sees what passes the monitors of a machine, in its order, while it passes."""

    def connected(self, monitor: str, greeting: bytes | None) -> None:
        """Note that a peer has come.

        :param greeting: what a QMP monitor says first
        """

    def disconnected(self, monitor: str) -> None:
        """Note that the peer has gone."""

    def received(self, monitor: str, content: Request | BadRequest | str) -> None:
        """Note what a client asks for, when its turn has come or it is read ahead."""

    def answered(self, monitor: str, command: str | None, content: bytes | str) -> None:
        """Note an answer.

        :param command: what it answers; None for input that is no request
        """

    def told(self, monitor: str, event: bytes) -> None:
        """Note an event that is sent."""


class Taps:
    """Several taps as one.

    :param taps: which
    """

    def __init__(self, *taps: Tap) -> None:
        self._taps = taps

    def connected(self, monitor: str, greeting: bytes | None) -> None:
        """Tell all."""
        for tap in self._taps:
            tap.connected(monitor, greeting)

    def disconnected(self, monitor: str) -> None:
        """Tell all."""
        for tap in self._taps:
            tap.disconnected(monitor)

    def received(self, monitor: str, content: Request | BadRequest | str) -> None:
        """Tell all."""
        for tap in self._taps:
            tap.received(monitor, content)

    def answered(self, monitor: str, command: str | None, content: bytes | str) -> None:
        """Tell all."""
        for tap in self._taps:
            tap.answered(monitor, command, content)

    def told(self, monitor: str, event: bytes) -> None:
        """Tell all."""
        for tap in self._taps:
            tap.told(monitor, event)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message.

    :param number: counts the messages of all monitors of the machine, from 0
    :param time: nanoseconds since 1970, by the machine's host clock
    :param monitor: label of the monitor
    :param direction: ``in``: from the client; ``out``: to it
    :param content: a request as QMP has read it; the bytes of a greeting, an answer or an event;
        at the human monitor the line that was typed, or the text that its command has printed
    """

    number: int
    time: int
    monitor: str
    direction: Literal["in", "out"]
    content: Request | BadRequest | bytes | str

    def describe(self) -> dict[str, object]:
        """Return the entry as a JSON object.

        Its members are ``number``, ``time`` (seconds), ``monitor``, ``direction``, and one of
        ``message``, ``error`` (what is wrong with input that is not a request), ``line`` and
        ``text`` (of the human monitor).
        """
        return {
            "number": self.number,
            "time": self.time // 1000 / 1_000_000,
            "monitor": self.monitor,
            "direction": self.direction,
            **_describe(self.content, self.direction),
        }


def _describe(content: Request | BadRequest | bytes | str, direction: str) -> dict[str, object]:
    from qmpd.wire.session import NO_ID, BadRequest

    if isinstance(content, bytes):
        return {"message": json.loads(content)}
    if isinstance(content, str):
        return {"line" if direction == "in" else "text": content}
    if isinstance(content, BadRequest):
        return {"error": content.error.desc}
    message: dict[str, object] = {"exec-oob" if content.oob else "execute": content.command}
    if content.arguments is not None:
        message["arguments"] = content.arguments
    if content.id is not NO_ID:
        message["id"] = content.id
    return {"message": message}


Record = Callable[[Entry], None]
"""Takes each entry, in order, while the message passes."""


class Journal:
    """Numbers and stamps the messages of one machine.

    :param record: takes the entries
    :param date: tells the nanoseconds since 1970
    """

    def __init__(self, record: Record, date: Callable[[], int]) -> None:
        self._record = record
        self._date = date
        self._next = 0

    def received(self, monitor: str, content: Request | BadRequest | str) -> None:
        """Note what a client asks for, when its turn has come or it is read ahead."""
        self._note(monitor, "in", content)

    def answered(self, monitor: str, command: str | None, content: bytes | str) -> None:
        """Note an answer."""
        self._note(monitor, "out", content)

    def told(self, monitor: str, event: bytes) -> None:
        """Note an event that is sent."""
        self._note(monitor, "out", event)

    def connected(self, monitor: str, greeting: bytes | None) -> None:
        """Note a greeting."""
        if greeting is not None:
            self._note(monitor, "out", greeting)

    def disconnected(self, monitor: str) -> None:
        """Nothing was said."""

    def _note(
        self,
        monitor: str,
        direction: Literal["in", "out"],
        content: Request | BadRequest | bytes | str,
    ) -> None:
        entry = Entry(self._next, self._date(), monitor, direction, content)
        self._next += 1
        self._record(entry)


class JournalFile:
    """Writes entries down, a line of JSON each.

    :param file: where the lines go
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @classmethod
    def open(cls, path: str) -> JournalFile:
        """Append to the file at `path`; a new one can be read by its owner only.

        :raises OSError: it cannot be opened
        """

        def opener(name: str, flags: int) -> int:
            return os.open(name, flags | os.O_CLOEXEC, 0o600)

        return cls(open(path, "a", encoding="utf-8", opener=opener))

    def __call__(self, entry: Entry) -> None:
        """Write one line."""
        self._file.write(json.dumps(entry.describe()) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
