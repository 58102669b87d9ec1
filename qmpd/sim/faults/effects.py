"""What a fault does to the bytes of one direction of one connection, as they pass.

Bytes pass the effects one after the other as units, and each may cut a unit, add others, hold it
back, or end the connection there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from qmpd.sim.faults.connections import ConnectionFault


@dataclass(frozen=True, slots=True)
class Unit:
    """Bytes on their way, or the end of the way.

    :param data: bytes of one message, or of none
    :param first: whether a message begins here
    :param last: whether it ends here
    :param wait: nanoseconds before they go on
    :param alone: whether they go on by themselves, not together with what was before them
    :param end: what happens behind them: the connection is cut, or nothing more is listened to
    """

    data: bytes
    first: bool = False
    last: bool = False
    wait: int = 0
    alone: bool = False
    end: Literal["cut", "deaf"] | None = None


class Effect:
    """A fault at work on one direction of one connection.

    :param label: whose connection it is, for the journal
    :param later: passes a unit on after some nanoseconds
    """

    def __init__(
        self, fault: ConnectionFault, label: str, later: Callable[[int, Unit], None]
    ) -> None:
        self.fault = fault
        self._label = label
        self._later = later
        self._apply = _EFFECTS[fault.action]
        self._messages = 0
        self._bytes = 0
        self._held: list[tuple[int, Unit]] = []
        """Messages that are late, each with how many others it lets pass still."""

    def apply(self, unit: Unit) -> Iterator[Unit]:
        """What becomes of a unit."""
        yield from self._apply(self, unit)
        self._bytes += len(unit.data)
        self._messages += unit.last

    def _meets(self) -> bool:
        return self.fault.meets(monitor=self._label)

    def _place(self, unit: Unit) -> int | None:
        """Where in the unit it happens; None if it does not happen there."""
        fault, length = self.fault, len(unit.data)
        behind = fault.action in ("cut-after", "deaf")
        if fault.byte is not None:
            at = fault.byte - self._bytes - (not behind)
            inside = 0 < at <= length if behind else 0 <= at < length
            return at if inside else None
        if self._messages + 1 != fault.message:
            return None
        if behind:
            return length if unit.last else None
        if not unit.first:
            return None
        return length // 2 if fault.action == "cut-within" else 0

    def _cut(self, unit: Unit) -> Iterator[Unit]:
        at = self._place(unit)
        if at is None or not self._meets():
            yield unit
            return
        end: Literal["cut", "deaf"] = "deaf" if self.fault.action == "deaf" else "cut"
        yield replace(unit, data=unit.data[:at], end=end)
        if end == "deaf" and at < len(unit.data):
            yield replace(unit, data=unit.data[at:], first=False)

    def _insert(self, unit: Unit) -> Iterator[Unit]:
        at = self._place(unit)
        if at is None or not self._meets():
            yield unit
            return
        if at:
            yield replace(unit, data=unit.data[:at], last=False)
        yield Unit(self.fault.data)
        yield replace(unit, data=unit.data[at:], first=not at, wait=0)

    def _slice(self, unit: Unit) -> Iterator[Unit]:
        size = self.fault.size
        if len(unit.data) <= size or not self._meets():
            yield unit
            return
        for start in range(0, len(unit.data), size):
            yield replace(
                unit,
                data=unit.data[start : start + size],
                first=unit.first and not start,
                last=unit.last and start + size >= len(unit.data),
                wait=self.fault.delay if start else unit.wait,
                alone=True,
            )

    def _delay(self, unit: Unit) -> Iterator[Unit]:
        wanted = self.fault.message
        if unit.first and wanted in (None, self._messages + 1) and self._meets():
            unit = replace(unit, wait=unit.wait + self.fault.delay)
        yield unit

    def _duplicate(self, unit: Unit) -> Iterator[Unit]:
        yield unit
        if self._is_meant(unit) and self._meets():
            yield unit

    def _late(self, unit: Unit) -> Iterator[Unit]:
        if self._is_meant(unit) and self._meets():
            if self.fault.delay:
                self._later(self.fault.delay, unit)
            else:
                self._held.append((self.fault.after or 1, unit))
            return
        yield unit
        if unit.last:
            held = [(left - 1, late) for left, late in self._held]
            self._held = [(left, late) for left, late in held if left]
            yield from (late for left, late in held if not left)

    def _is_meant(self, unit: Unit) -> bool:
        if self.fault.message is not None:
            return self._messages + 1 == self.fault.message
        try:
            message = json.loads(unit.data)
        except ValueError:
            return False
        name = message.get("event") if isinstance(message, dict) else None
        return isinstance(name, str) and fnmatchcase(name, self.fault.event or "*")

    def rest(self) -> list[Unit]:
        """What has been held back, because the fault is taken out."""
        held, self._held = self._held, []
        return [unit for _, unit in held]


_EFFECTS: Final[Mapping[str, Callable[[Effect, Unit], Iterator[Unit]]]] = {
    "cut-before": Effect._cut,
    "cut-within": Effect._cut,
    "cut-after": Effect._cut,
    "deaf": Effect._cut,
    "insert": Effect._insert,
    "slice": Effect._slice,
    "delay": Effect._delay,
    "duplicate": Effect._duplicate,
    "late": Effect._late,
}
