"""A program meets the loss of power at every moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from inspect import isgenerator
from random import Random
from typing import TYPE_CHECKING, Any

from qmpd.api.machine import Machine
from qmpd.api.setup import Setup
from qmpd.sim.power.file import Keep
from qmpd.sim.power.loss import check_keep, ordered_storage
from qmpd.sim.power.points import Point, Recorder

if TYPE_CHECKING:
    from qmpd.block.images.memory import MemoryFile

Scenario = Callable[[Machine], Iterator[Any] | None]
"""What happens to a machine; it may say with ``yield`` what it has come to."""

Check = Callable[[Machine, Any], None]
"""Looks at a machine that was started again; given what the scenario had come to."""


def every_power_loss(
    scenario: Scenario,
    check: Check,
    *,
    keep: Keep | Sequence[Keep] = ("flushed", "random", "all"),
    seed: int = 0,
    **arguments: Any,
) -> int:
    """Run a scenario, and see what is left if the power is lost after each write and each flush.

    The scenario runs once.  For each point, and each of `keep`, a machine is made of the same
    arguments on what is left of the images, as `Machine.restart` makes one after
    `Machine.power_loss`, and `check` looks at it.  Images that the machine had when the scenario
    began are there for certain.

    >>> from qmpd.testing import every_power_loss
    >>> def scenario(vm):
    ...     vm.disk("disk0").write(0, b"a")
    ...     vm.disk("disk0").flush()
    ...     yield b"a"
    ...     vm.disk("disk0").write(0, b"b")
    >>> def check(vm, reached):
    ...     found = vm.disk("disk0").read(0, 1)
    ...     assert found in ((b"\\0", b"a") if reached is None else (reached, b"b"))
    >>> every_power_loss(scenario, check, disks={"disk0": "1M"})
    4

    :param scenario: takes the machine.  What it yields is given to `check` for all points after
        that, None for those before: what is to be there by then
    :param check: takes the machine that was started again, and what the scenario had come to;
        raises what it finds wrong
    :param keep: what a disk may have kept, see `Machine.power_loss`; one word or several
    :param seed: chooses among the ways in which that may be, another one for each point; it is
        the machine's as well
    :param arguments: those of `Machine`
    :returns: how many points there were
    :raises Exception: what `check` or the new start has raised, with a note that says where
    """
    words = [check_keep(word) for word in ([keep] if isinstance(keep, str) else keep)]
    setup = Setup(**{**arguments, "seed": seed, "power": True})
    points = _run(scenario, setup)
    for point in points:
        for word in words:
            number = seed * 1_000_003 + point.number
            try:
                _look(point, word, number, check, setup)
            except Exception as error:
                error.add_note(
                    f"power lost at point {point.number} of {len(points) - 1}, after"
                    f" {point.what}; keep={word!r}, seed={number}"
                )
                raise
    return len(points)


def _run(scenario: Scenario, setup: Setup) -> list[Point]:
    """Run the scenario; returns the points that it has passed."""
    with Machine._of(setup) as vm:
        recorder = Recorder(ordered_storage(vm._core.machine))
        steps = scenario(vm)
        if isgenerator(steps):
            for recorder.reached in steps:
                pass
        recorder.stop()
        return recorder.points


def _look(point: Point, keep: Keep, seed: int, check: Check, setup: Setup) -> None:
    """Start a machine on what is left, and check it."""
    random = Random(seed)
    files: dict[str, MemoryFile] = {
        name: unflushed.left(keep, random) for name, unflushed in point.files.items()
    }
    with Machine._on(setup, files) as vm:
        check(vm, point.reached)
