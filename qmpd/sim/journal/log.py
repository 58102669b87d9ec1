"""Where all that happens to a machine is kept, as it comes and in its order.

Noting is on the path of every request, so nothing is decoded or copied: a tuple of what is at hand
anyway goes to the end of a queue.  `qmpd.sim.journal.raw` makes something readable of it when
somebody reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.wire.session import NO_ID, Request

if TYPE_CHECKING:
    from qmpd.loop.events import EventRecord
    from qmpd.sim.journal.entry import Kind
    from qmpd.sim.journal.raw import Raw
    from qmpd.wire.session import BadRequest

LIMIT: Final = 64 << 20
"""Bytes of entries that are kept, about."""

_ENTRY_SIZE: Final = 400
"""Bytes of memory that an entry takes, about, besides what a monitor sends."""


def size_of(raw: Raw) -> int:
    """Bytes of memory that an entry takes, about."""
    kind, _, _, content, more, _ = raw
    if kind != "request" and type(content) in (bytes, str):
        return _ENTRY_SIZE + len(content)
    return _size_of_request(more) if kind == "request" and more else _ENTRY_SIZE


def _size_of_request(arguments: dict[str, Any]) -> int:
    actions = arguments.get("actions")
    return _ENTRY_SIZE * (1 + len(actions)) if type(actions) is list else _ENTRY_SIZE


class Log:
    """The entries of one machine.

    It is a `qmpd.monitor.journal.Tap` of the machine's monitors.

    :param now: tells the machine's time, nanoseconds
    :param limit: bytes that are kept, about; beyond that the older half is dropped
    """

    def __init__(self, now: Callable[[], int], limit: int = LIMIT) -> None:
        self.now = now
        self.dropped = 0
        """How many entries are no longer there, from the beginning on."""
        self._limit = limit
        self._room = limit
        self._entries: deque[Raw] = deque()
        self._append = self._entries.append

    @property
    def end(self) -> int:
        """The number that the next entry gets; the first one has 0."""
        return self.dropped + len(self._entries)

    def snapshot(self) -> tuple[int, list[Raw]]:
        """The entries that there are, after the number of the first of them."""
        # no code of Python's runs while a list is made of a deque: other threads may go on to note
        entries = list(self._entries)
        return self.end - len(entries), entries

    def _add(self, raw: Raw) -> None:
        self._entries.append(raw)
        self._room -= size_of(raw)
        if self._room < 0:
            self._drop()

    def _drop(self) -> None:
        """Drop the older half."""
        half = self._limit // 2
        while self._room < half and len(self._entries) > 1:
            self._room += size_of(self._entries.popleft())
            self.dropped += 1

    def shrink(self) -> None:
        """Drop the older half of what there is: memory is short."""
        for _ in range(len(self._entries) // 2):
            self._room += size_of(self._entries.popleft())
            self.dropped += 1

    # What the bench notes

    def note(self, kind: Kind, monitor: str | None, data: dict[str, Any]) -> None:
        """Note what did not come over a monitor."""
        self._add((kind, self.now(), monitor, data, None, None))

    def happened(self, event: EventRecord) -> None:
        """Note what an event of the machine tells of jobs, whoever may be sent it."""
        if event.name == "JOB_STATUS_CHANGE" and event.data is not None:
            self.note("job", None, dict(event.data))

    def stepped(self, what: str, delta: int) -> None:
        """Note that time passes; jumps with nothing in between are one.

        :param what: ``advance`` because the program says so, ``jump`` because all is idle
        :param delta: nanoseconds
        """
        last = self._entries[-1] if self._entries else None
        if what == "jump" and last is not None and last[0] == "clock" and last[3]["what"] == what:
            last[3]["ns"] += delta
        else:
            self.note("clock", None, {"what": what, "ns": delta})

    # What the monitors tell

    def connected(self, monitor: str, greeting: bytes | None) -> None:
        """Note that a peer has come."""
        self._add(("connection", self.now(), monitor, "opened", greeting, None))

    def disconnected(self, monitor: str) -> None:
        """Note that the peer has gone."""
        self._add(("connection", self.now(), monitor, "closed", None, None))

    def received(self, monitor: str, content: Request | BadRequest | str) -> None:
        """Note a request."""
        size = _ENTRY_SIZE
        if type(content) is Request:
            arguments = content.arguments
            if arguments:
                size = _size_of_request(arguments)
            what = content if content.oob else content.command
            identity = None if content.id is NO_ID else content.id
            self._append(("request", self.now(), monitor, what, arguments or (), identity))
        else:
            self._append(("request", self.now(), monitor, content, None, None))
        self._room -= size
        if self._room < 0:
            self._drop()

    def answered(self, monitor: str, command: str | None, content: bytes | str) -> None:
        """Note an answer."""
        self._append(("answer", self.now(), monitor, content, command, None))
        self._room -= _ENTRY_SIZE + len(content)
        if self._room < 0:
            self._drop()

    def told(self, monitor: str, event: bytes) -> None:
        """Note an event that is sent."""
        self._add(("event", self.now(), monitor, event, None, None))
