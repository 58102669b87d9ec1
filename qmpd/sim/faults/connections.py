"""Faults of connections: what they wait for, checked, and what they do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from qmpd.loop.clock import NANOSECONDS
from qmpd.sim.faults.fault import Fault, Keeper
from qmpd.sim.faults.words import not_below, one_of

Direction = Literal["out", "in"]

ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    "cut-before": frozenset({"place"}),
    "cut-within": frozenset({"message"}),
    "cut-after": frozenset({"place"}),
    "insert": frozenset({"place", "data"}),
    "slice": frozenset({"size", "seconds"}),
    "delay": frozenset({"message", "seconds"}),
    "duplicate": frozenset({"message", "event"}),
    "late": frozenset({"event", "after", "seconds"}),
    "deaf": frozenset({"place"}),
}
"""What can happen to a connection, and which arguments each of them takes besides those that all
take; ``place`` is `message` or `byte`."""

_NEEDED: Final[Mapping[str, str]] = {
    "insert": "data",
    "slice": "size",
    "delay": "seconds",
    "late": "event",
}
_PLACED: Final = frozenset({"cut-before", "cut-within", "cut-after", "deaf"})
_OUT_ONLY: Final = frozenset({"duplicate", "late"})
_OF_MESSAGES: Final = frozenset({"cut-within", "duplicate", "late"})


class ConnectionFault(Fault):
    """A fault of the connections of clients.

    :param action: one of `ACTIONS`
    :param monitor: label, or pattern, of the monitors whose clients are meant; None for all but
        the program's own
    :param nbd: the clients of the NBD server are meant instead
    :param direction: ``out``: what the client gets; ``in``: what it sends
    :param nth: the only connection that is meant, counted from 1 since the fault is there, one
        that is open by then included
    :param count: how many times it acts, None for always
    :param message: number of the message where it happens, counted from 1 since the connection
        began or, if that was before, since the fault is there.  The greeting is a message
    :param byte: number of the byte, counted in the same way
    :param data: what is inserted: bytes, a text, or a message as a dictionary
    :param size: bytes of a slice
    :param seconds: of the machine's clock: of the delay of each message, or of the given one; from
        one slice to the next; until an event comes that is late
    :param event: name or pattern of the events that are meant
    :param after: how many other messages an event lets pass that is late
    :raises ValueError: an action that there is not, or arguments that it does not take
    """

    def __init__(
        self,
        keeper: Keeper,
        action: str,
        *,
        monitor: str | None = None,
        nbd: bool = False,
        direction: str | None = None,
        nth: int | None = None,
        count: int | None = None,
        message: int | None = None,
        byte: int | None = None,
        data: bytes | str | Mapping[str, Any] | None = None,
        size: int | None = None,
        seconds: float | None = None,
        event: str | None = None,
        after: int | None = None,
    ) -> None:
        one_of("action", action, ACTIONS)
        given: dict[str, Any] = {"message": message, "byte": byte, "data": data, "size": size}
        given |= {"seconds": seconds, "event": event, "after": after}
        given = {name: value for name, value in given.items() if value is not None}
        _check(action, given)
        if direction is None:
            direction = "in" if action == "deaf" else "out"
        one_of("direction", direction, ("out", "in"))
        _check_direction(action, direction, nbd=nbd, message=message)
        if nbd and monitor is not None:
            raise ValueError("'monitor' and 'nbd' exclude each other")
        if nth is not None:
            not_below("nth", nth, 1)
        what: dict[str, Any] = {"connection": action, "to": "nbd" if nbd else monitor}
        what |= {"direction": direction, "nth": nth, **given, "data": _shown(data)}
        super().__init__(keeper, what, count=count)
        self.action = action
        self.monitor = monitor
        self.nbd = nbd
        self.direction: Direction = "in" if direction == "in" else "out"
        self.message = message
        if action == "insert" and message is None and byte is None:
            self.message = 2
        self.byte = byte
        self.data = _bytes(data)
        self.size = size or 0
        self.delay = round((seconds or 0) * NANOSECONDS)
        self.event = event
        self.after = after
        self._nth = nth
        self._connections = 0

    def concerns(self, label: str) -> bool:
        """Whether it is about the clients of the monitor of this label."""
        if self.nbd:
            return False
        return self.monitor is None or label == self.monitor or fnmatchcase(label, self.monitor)

    def connects(self) -> bool:
        """A client has come that it may be about; whether it is."""
        self._connections += 1
        return self._nth in (None, self._connections)


def _check(action: str, given: Mapping[str, Any]) -> None:
    takes = set(ACTIONS[action])
    if "place" in takes:
        takes = takes - {"place"} | {"message", "byte"}
    for name in given:
        if name not in takes:
            raise ValueError(f"{action!r} has no {name!r}; it takes {', '.join(sorted(takes))}")
    if "message" in given and "byte" in given:
        raise ValueError("'message' and 'byte' exclude each other")
    needed = _NEEDED.get(action)
    if needed is not None and needed not in given:
        raise ValueError(f"{action!r} needs {needed!r}")
    if action in _PLACED and not {"message", "byte"} & given.keys():
        raise ValueError(f"say where: {action!r} needs 'message' or 'byte'")
    if action == "duplicate" and not {"message", "event"} & given.keys():
        raise ValueError("say what: 'duplicate' needs 'event' or 'message'")
    if action == "late" and {"after", "seconds"} <= given.keys():
        raise ValueError("'after' and 'seconds' exclude each other")
    for name in {"message", "byte", "size", "after"} & given.keys():
        not_below(name, given[name], 1)
    not_below("seconds", given.get("seconds", 0), 0)


def _check_direction(action: str, direction: str, *, nbd: bool, message: int | None) -> None:
    if action in _OUT_ONLY and direction == "in":
        raise ValueError(f"{action!r} is for what a client gets: its direction is 'out'")
    if action == "deaf" and direction == "out":
        raise ValueError("'deaf' is for what a client sends: its direction is 'in'")
    if nbd and (message is not None or action in _OF_MESSAGES):
        raise ValueError("NBD has no messages: say which 'byte'")


def _bytes(data: bytes | str | Mapping[str, Any] | None) -> bytes:
    if data is None:
        return b""
    if isinstance(data, str):
        return data.encode()
    return data if isinstance(data, bytes) else json.dumps(data).encode() + b"\r\n"


def _shown(data: bytes | str | Mapping[str, Any] | None) -> str | Mapping[str, Any] | None:
    return data.decode("latin-1") if isinstance(data, bytes) else data
