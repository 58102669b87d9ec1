"""The machine of tests that look inside: a `qmpd.Machine` and what it is made of."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import qmpd
from qmpd.api.setup import Setup
from qmpd.block.images import Storage
from qmpd.profile.personality import Personality


class TestMachine:
    """A machine on a virtual clock, asked as any program asks it.

    `machine` and `clock` are what it is made of; `events` has the names and the data of all
    events, before the limits of their rate.

    :param storage: where its images live; memory if absent
    :param options: further fields of `MachineConfig`
    """

    __test__ = False

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        personality: Personality = Personality.SYSTEM,
        **options: Any,
    ) -> None:
        more = {"cpus": 0, "personality": personality, **options}
        setup = Setup(storage="memory" if storage is None else storage, seed=0, more=more)
        self.vm = qmpd.Machine._of(setup)
        core = self.vm._core
        self.clock, self.machine, self.graph = core.clock, core.machine, core.machine.graph
        self.printed, self.complaints = self.vm.printed, self.vm.complaints
        self.events: list[tuple[str, Any]] = []
        self.machine.events.subscribe(lambda record: self.events.append((record.name, record.data)))

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command; arguments are given with underscores for dashes."""
        return self.vm.cmd(command, **arguments)

    def hmp(self, line: str) -> str:
        """Run a line of the human monitor."""
        return self.vm.hmp(line)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the block layer to its end; time passes as it must."""
        return self.clock.run(work)
