"""Running a hypothesis state machine, which makes up sequences."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine


def run_any_sequence(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Let `machine` do what it may, in any order; fails with the shortest sequence that fails.

    With ``QMPD_NO_SHRINK`` in the environment it is the sequence that was found first, which
    takes less time.
    """
    phases = [p for p in Phase if p is not Phase.shrink or "QMPD_NO_SHRINK" not in os.environ]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
