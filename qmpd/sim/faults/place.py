"""What faults need of the bench they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.machine.machine import Machine
    from qmpd.monitor.monitors import Monitors


class Place(Protocol):
    """A bench; see `qmpd.sim.bench.Bench`."""

    @property
    def machine(self) -> Machine:
        """The machine that is there now."""

    @property
    def monitors(self) -> Monitors:
        """Its monitors."""

    @property
    def clock(self) -> Clock:
        """What runs it."""

    def note(self, kind: Literal["fault"], *, monitor: str | None = None, **data: Any) -> None:
        """Note in the journal what happens to a fault."""
