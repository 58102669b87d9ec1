"""How far a piece of work has come (QEMU's ProgressMeter)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ProgressMeter:
    """What is done and what there is to do, in bytes or in steps; the total is an estimate."""

    current: int = 0
    total: int = 0

    def work_done(self, amount: int) -> None:
        """Another `amount` is done (``progress_work_done``)."""
        self.current += amount

    def set_remaining(self, amount: int) -> None:
        """What is left from here is `amount` (``progress_set_remaining``)."""
        self.total = self.current + amount
