"""Migration from one machine of a program to another one, over a pipe in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.api.by_hand import LONGEST, pass_time
from qmpd.api.pipe import PIPE, pipe
from qmpd.errors import GenericError, WaitsForever

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from qmpd.api.core import Core
    from qmpd.api.drivers import Driver

_WHERE: Final = {"uri": f"unix:{PIPE}"}


class Move:
    """A migration between two machines that their program runs by hand.

    :param source: the machine that has the guest
    :param target: the one that waits for it
    """

    def __init__(self, source: Core, target: Core) -> None:
        self._cores = source, target
        source.host.pipe, target.host.pipe = pipe(source.clock, target.clock)

    def begin_there(self) -> Coroutine[Any, Any, Any]:
        """What lets the target wait for the guest."""
        return self._cores[1].cmd("migrate-incoming", _WHERE | {"exit-on-error": False})

    def begin_here(self) -> Coroutine[Any, Any, Any]:
        """What lets the source begin."""
        return self._cores[0].cmd("migrate", _WHERE)

    async def over_here(self) -> bool:
        """Wait until the source has done its part; False: it waits to go on."""
        outgoing = self._cores[0].machine.migration.outgoing
        assert outgoing is not None
        await outgoing.over()
        return not outgoing.running

    async def over_there(self) -> None:
        """Wait until the target has done its part."""
        await self._cores[1].machine.migration.incoming.over()

    def end(self) -> None:
        """Take the pipe away from who has not begun."""
        for core in self._cores:
            core.host.pipe = None

    def run(self, source: Driver, target: Driver) -> None:
        """Migrate, until that is over or waits to go on; both machines are run by hand.

        :raises QmpError: it cannot be begun, or has failed
        :raises WaitsForever: it waits for what the program has to do
        """
        try:
            target.run(self.begin_there(), "migrate-incoming")
            source.run(self.begin_here(), "migrate")
            self._pump()
        finally:
            self.end()
        self.check()

    def _pump(self) -> None:
        end = [core.clock.now() + LONGEST for core in self._cores]
        while not self._is_over():
            ran = [core.clock.run_ready() for core in self._cores]
            if not any(ran) and not any(map(pass_time, (c.clock for c in self._cores), end)):
                raise WaitsForever("the migration waits, and no clock may go on")

    def _is_over(self) -> bool:
        here, there = (core.machine.migration for core in self._cores)
        assert here.outgoing is not None
        if here.outgoing.state == "pre-switchover":
            return True
        return not here.running and not there.incoming.under_way

    def check(self) -> None:
        """Tell why it has failed.

        :raises GenericError: it has
        """
        for core in self._cores:
            info = core.machine.migration.info()
            if info["status"] == "failed":
                raise GenericError(info.get("error-desc", "the migration has failed"))
