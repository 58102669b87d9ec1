"""The entries of a journal, as they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from qmpd.loop.clock import NANOSECONDS

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


WIDTH: Final = 160
"""Characters of a line, about, after which it is cut off."""

_SIGNS: Final = {"request": "->", "answer": "<-", "event": "<*"}


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
    :param oob: of a request: True if it came out of band (``exec-oob``)
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
    oob: bool | None = None
    answer: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    event: str | None = None
    data: dict[str, Any] | None = None

    @property
    def value(self) -> Any:
        """What a command has returned; None for anything but an answer without an error."""
        return None if self.answer is None else self.answer.get("return")

    def __str__(self) -> str:
        return _line(self)

    def describe(self) -> dict[str, Any]:
        """Return the entry as a JSON object: the members that are not None."""
        names = (name for name in Entry.__slots__ if name != "error" or self.answer is None)
        pairs = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in pairs if value is not None}


def _line(entry: Entry) -> str:
    """An entry on one line, for people."""
    time = f"{entry.time / NANOSECONDS:12.6f}"
    sign = _SIGNS.get(entry.kind, "--")
    who = entry.kind if entry.monitor is None else entry.monitor
    return _cut(f"{time}  {who:10} {sign} {_what(entry)}")


def _cut(line: str) -> str:
    line = line.replace("\r\n", " | ").replace("\n", " | ").rstrip(" |")
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ..."


def _what(entry: Entry) -> str:
    if entry.kind == "request":
        if entry.command is None:
            return f"(no request: {(entry.error or {}).get('desc')})"
        verb = "exec-oob " if entry.oob else ""
        return f"{verb}{entry.command} {_pairs(entry.arguments)}".rstrip()
    if entry.kind == "answer":
        return _answer(entry)
    if entry.kind == "event":
        return f"{entry.event} {_pairs(entry.data)}".rstrip()
    data = dict(entry.data or {})
    data.pop("greeting", None)
    if "ns" in data:
        data["s"] = data.pop("ns") / NANOSECONDS
    head = [str(data.pop(name)) for name in ("what", "action", "operation") if name in data]
    if entry.monitor is not None:
        head.insert(0, entry.kind)
    return " ".join([*head, _pairs(data)]).rstrip()


def _answer(entry: Entry) -> str:
    command = entry.command or "error"
    if entry.error is not None:
        return f"{command}: {entry.error.get('class')}: {entry.error.get('desc')}"
    answer = entry.answer or {}
    return f"{command}: {answer['text'] if 'text' in answer else _value(answer.get('return'))}"


def _pairs(members: dict[str, Any] | None) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in (members or {}).items())


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not set(value) & set(' "{}[]'):
        return value
    return json.dumps(value, default=repr)
