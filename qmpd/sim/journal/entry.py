"""The entries of a journal, as they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from qmpd.wire.session import BadRequest, Request

Kind = Literal[
    "request",
    "answer",
    "event",
    "guest",
    "fault",
    "job",
    "clock",
    "connection",
    "machine",
]
"""What an entry is about: see `KINDS`."""

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "request": "a command that a client has sent, or a line of the human monitor",
        "answer": "what a monitor has answered",
        "event": "an event that a monitor has sent; one entry for each monitor",
        "guest": "a request of the guest to a disk, or what it does with the machine",
        "fault": "a fault that was installed, has struck or was removed",
        "job": "a job that has changed its state, whether a client was told or not",
        "clock": "time that has passed because the program said so, or because all was idle",
        "connection": "a client that has come or gone",
        "machine": "the machine was reset, restored, crashed, restarted or closed",
    }
)
"""The kinds of entries, and what they tell."""


Raw = tuple[Kind, int, str | None, Any, Any]
"""What is kept of an entry: kind, time, monitor, and what the kind needs:

* ``request``: what the session has read, or a line of the human monitor; None
* ``answer``: its bytes, or the text of the human monitor; the command that it answers
* ``event``: its bytes; None
* ``connection``: what happens; the greeting's bytes where there is one
* all others: a dictionary; None
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened.

    Members that an entry's kind does not have are None.

    :param number: counts the entries of the machine, from 0
    :param time: nanoseconds of the machine's clock
    :param kind: what it is about, one of `KINDS`
    :param monitor: label of the monitor that it passed; ``"program"`` is that of `qmpd.Machine`
    :param command: of a request and its answer: the command's name, or the human monitor's line
    :param arguments: of a request: its arguments, ``{}`` where it has none
    :param id: of a request: its ``id``
    :param answer: of an answer: all of it, as it came over QMP; of the human monitor: ``{"text"}``
    :param error: of an answer: its ``error``, with ``class`` and ``desc``; of input that is no
        request: what is wrong with it
    :param event: of an event: its name
    :param data: of an event: its data; of a guest's request, a fault, a job, ...: what it tells
    """

    number: int
    time: int
    kind: Kind
    monitor: str | None = None
    command: str | None = None
    arguments: dict[str, Any] | None = None
    id: Any = None
    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    event: str | None = None
    data: dict[str, Any] | None = None

    @property
    def value(self) -> Any:
        """What a command has returned; None for anything but an answer without an error."""
        return None if self.answer is None else self.answer.get("return")

    def describe(self) -> dict[str, Any]:
        """Return the entry as a JSON object: the members that are not None."""
        names = (name for name in Entry.__slots__ if name != "error" or self.answer is None)
        pairs = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in pairs if value is not None}


def read_entry(number: int, raw: Raw) -> Entry:
    """Decode an entry."""
    kind, time, monitor, content, more = raw
    return Entry(number, time, kind, monitor, **_members(kind, content, more))


def _members(kind: str, content: Any, more: Any) -> dict[str, Any]:
    if kind == "request":
        return _request(content)
    if kind == "answer":
        answer = {"text": content} if isinstance(content, str) else json.loads(content)
        return {"command": more, "answer": answer, "error": answer.get("error")}
    if kind == "event" and isinstance(content, bytes):
        event = json.loads(content)
        return {"event": event["event"], "data": event.get("data", {})}
    if kind == "connection" and isinstance(content, str):
        return {
            "data": {"what": content} if more is None else {"what": content, **json.loads(more)}
        }
    return {"data": content}


def _request(content: Request | BadRequest | str) -> dict[str, Any]:
    from qmpd.wire.session import NO_ID, BadRequest

    if isinstance(content, str):
        return {"command": content}
    identity = None if content.id is NO_ID else content.id
    if isinstance(content, BadRequest):
        error = {"class": content.error.error_class, "desc": content.error.desc}
        return {"error": error, "id": identity}
    return {"command": content.command, "arguments": content.arguments or {}, "id": identity}
