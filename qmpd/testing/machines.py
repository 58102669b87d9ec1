"""The machines of one test: made, looked at when it fails, and closed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmpd.testing.wishes import allowed, machine_arguments

if TYPE_CHECKING:
    from qmpd.aio import Machine as AioMachine
    from qmpd.api.machine import Machine
    from qmpd.sim.journal.journal import Journal

SHOWN: Final = 200
"""Entries of a journal that a failing test shows."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A machine.

    :param kept: whether it is not the test's to close
    """

    machine: Machine | AioMachine
    name: str
    kept: bool


class Machines:
    """Makes machines for one test: call it as `qmpd.Machine`.

    :param wishes: what the test wants of all of them: see `qmpd.testing.wishes`
    :param schedule: the seed of the order of events, if the test is run under several
    :param version: the version of QEMU to be, if the test is run on several
    """

    def __init__(
        self,
        wishes: Mapping[str, Any],
        schedule: int | None = None,
        version: str | None = None,
    ) -> None:
        self._wishes = dict(wishes)
        given = {"schedule": schedule, "version": version}
        self._more = {name: value for name, value in given.items() if value is not None}
        self._made: list[_Made] = []

    def __call__(self, **arguments: Any) -> Machine:
        """Make a machine, which the test has to close; arguments are those of `qmpd.Machine`."""
        return self.make(arguments)

    def aio(self, **arguments: Any) -> AioMachine:
        """Make a `qmpd.aio.Machine`, for ``async with``."""
        from qmpd.aio import Machine

        made = Machine(**self._all(arguments))
        self._add(made, kept=False)
        return made

    def make(self, arguments: Mapping[str, Any], *, kept: bool = False) -> Machine:
        """Make a machine.

        :param kept: whether it is closed for the test
        """
        from qmpd.api.machine import Machine

        made = Machine(**self._all(arguments))
        self._add(made, kept=kept)
        return made

    def _all(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return machine_arguments(self._wishes, {**self._more, **arguments})

    def _add(self, machine: Machine | AioMachine, *, kept: bool) -> None:
        name = "machine" if not self._made else f"machine {len(self._made) + 1}"
        self._made.append(_Made(machine, name, kept))

    def leaks(self) -> list[str]:
        """What is left of the test and should not be, in words."""
        allow = allowed(self._wishes)
        left = []
        for made in self._made:
            if "open" not in allow and not made.kept and not made.machine.closed:
                left.append(f"{made.name} was not closed")
            if "jobs" not in allow:
                left += [f"{made.name}: {job}" for job in _jobs(made.machine)]
            if "faults" not in allow:
                left += [f"{made.name}: {fault}" for fault in _unused_faults(made.machine)]
        return left

    def complaint(self) -> str | None:
        """What a test that has passed is told of its `leaks`; None if there are none."""
        left = self.leaks()
        if not left:
            return None
        lines = [*left, "(to allow it, say allow=: 'open', 'jobs', 'faults')"]
        return "the test has left something behind:\n" + "\n".join(lines)

    def texts(self) -> Iterator[tuple[str, str]]:
        """The name and the journal of each machine, as text."""
        for made in self._made:
            yield made.name, made.machine.journal.text(last=SHOWN)

    def journals(self) -> Iterator[Journal]:
        """The journal of each machine."""
        return (made.machine.journal for made in self._made)

    def close(self) -> None:
        """Close all machines that can be closed from here."""
        from qmpd.api.machine import Machine

        for made in reversed(self._made):
            if isinstance(made.machine, Machine) and not made.machine.closed:
                made.machine.close()


def _jobs(machine: Machine | AioMachine) -> list[str]:
    """Jobs of a machine that is not closed."""
    if machine.closed:
        return []
    jobs = machine._core.machine.jobs.query_jobs()
    return [f"job '{job['id']}' ({job['type']}) is {job['status']}" for job in jobs]


def _unused_faults(machine: Machine | AioMachine) -> list[str]:
    """Faults that have not struck, whether they are installed still or were removed."""
    removed = [
        {name: value for name, value in entry.data.items() if name != "action"}
        for entry in machine.journal.filter("fault")
        if entry.data is not None and entry.data.get("action") == "removed"
    ]
    installed = list(machine.faults) if machine._core.bench.has_faults else []
    faults = [*removed, *(fault.describe() for fault in installed)]
    return [f"fault {_pairs(fault)} never struck" for fault in faults if fault.get("hits") == 0]


def _pairs(what: dict[str, Any]) -> str:
    return " ".join(f"{n}={v}" for n, v in what.items() if n != "hits" and v is not None)
