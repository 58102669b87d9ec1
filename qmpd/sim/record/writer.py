"""A recording on its way to its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qmpd.sim.record.recording import Said, Side, head_line, said_in, said_line
from qmpd.sim.record.splitter import Splitter

if TYPE_CHECKING:
    from qmpd.sim.record.redact import Redaction


@dataclass
class _Direction:
    """What one side of a connection says."""

    splitter: Splitter = field(default_factory=Splitter)
    descriptors: int = 0
    """How many have come with what is not a whole message yet."""


class Writer:
    """Writes down what passes, message by message.

    :param write: takes a line, without its end
    :param now: seconds since the recording began
    :param redaction: takes names and keys out of messages
    """

    def __init__(
        self,
        write: Callable[[str], None],
        now: Callable[[], float],
        redaction: Redaction | None = None,
        **head: Any,
    ) -> None:
        self._write = write
        self._now = now
        self._redaction = redaction
        self._directions: dict[tuple[int, Side], _Direction] = {}
        if redaction is not None:
            head["redacted"] = True
        write(head_line(**head))

    def opened(self, connection: int) -> None:
        """A client has come."""
        self._write(said_line(Said(0, connection, self._now(), "client", what="opened")))

    def closed(self, connection: int, side: Side) -> None:
        """One side has ended the connection; a message that it has begun is written down."""
        direction = self._directions.pop((connection, side), None)
        if direction is not None and (rest := direction.splitter.end()):
            self._said(connection, side, rest, direction)
        self._write(said_line(Said(0, connection, self._now(), side, what="closed")))

    def passed(self, connection: int, side: Side, data: bytes, descriptors: int = 0) -> None:
        """Bytes have been sent.

        :param descriptors: how many came with them
        """
        direction = self._directions.setdefault((connection, side), _Direction())
        direction.descriptors += descriptors
        for message in direction.splitter.feed(data):
            self._said(connection, side, message, direction)

    def _said(self, connection: int, side: Side, data: bytes, direction: _Direction) -> None:
        message, raw = said_in(data)
        if self._redaction is not None:
            message, raw = self._redaction.of_message(message), None
            if message is None:
                raw = "(no JSON)"
        said = Said(0, connection, self._now(), side, message, raw, direction.descriptors)
        direction.descriptors = 0
        self._write(said_line(said))
