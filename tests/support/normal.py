"""Normal forms of answers, as `qmpd compare` has them."""

from __future__ import annotations

from qmpd.sim.record.normal import normal, normal_text

__all__ = ["normal", "normal_text"]
