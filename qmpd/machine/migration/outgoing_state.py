"""A migration to another machine: how far it is, and what is done to it from outside."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.loop.task import Waiter
from qmpd.machine.migration.link import Link
from qmpd.machine.migration.side import MigrationSide
from qmpd.machine.migration.status import RUNNING, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.errors import QmpError
    from qmpd.loop.stream import Channel
    from qmpd.loop.task import Handle
    from qmpd.machine.host import StreamPeer
    from qmpd.machine.migration.bitmaps_out import BitmapsOut
    from qmpd.machine.migration.capabilities import Capabilities
    from qmpd.machine.migration.guest import Guest
    from qmpd.machine.migration.parameters import Parameters


class OutgoingState(MigrationSide):
    """One migration to another machine, from the command on."""

    def __init__(
        self,
        guest: Guest,
        capabilities: Capabilities,
        parameters: Parameters,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(guest, capabilities, parameters, tell, complain)
        self._link: Link | None = None
        self._bitmaps: BitmapsOut | None = None
        self._pause: Waiter | None = None
        self._round: Waiter | None = None
        self._abandoned = False
        self._waiting: list[Callable[[], None]] = []
        self._answered = False
        """Whether the target tells how it went."""
        self.dial: Handle | None = None
        """The attempt to connect."""
        self.postcopy_wanted = False
        self.progress = Progress(self._clock.now())
        self.set_state("setup")

    def set_state(self, state: str) -> None:
        """Be in another state, and tell so."""
        self.state = state
        self._tell(state)
        self._settle()
        self._wake_over()

    @property
    @override
    def settled(self) -> bool:
        """Whether it has ended, or waits to go on itself."""
        return not self.running or self.state == "pre-switchover"

    def _settle(self) -> None:
        if self.state not in ("setup", "active"):
            waiting, self._waiting = self._waiting, []
            for callback in waiting:
                self._clock.call_soon(callback)

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call `callback` once it is not on its way any more, or about to end."""
        self._waiting.append(callback)
        self._settle()

    @property
    def running(self) -> bool:
        """Whether it is under way (``migration_is_running``)."""
        return self.state in RUNNING

    def info(self) -> dict[str, object]:
        """MigrationInfo, as far as it is about this migration."""
        info: dict[str, object] = {"status": self.state}
        if self._link is not None:
            self.progress.transferred = self._link.transferred
        if self.state == "completed" or (self.running and self.state != "setup"):
            info.update(self.progress.info(self.state, self._clock.now()))
        if self.error is not None:
            info["error-desc"] = self.error
        return info

    @abstractmethod
    async def _run(self) -> None:
        """Do the work, once there is a connection."""

    # What is done to it

    def refused(self, error: QmpError) -> None:
        """There is no connection, and who has asked for the migration is told so."""
        self.set_state("failed")
        self.error = error.desc

    def not_connected(self, error: QmpError) -> None:
        """There will be no connection."""
        if self.running:
            self.set_state("failed")
            self.error = error.desc
            self._complain(error.report.rstrip("\n"))

    def connect(self, peer: StreamPeer) -> Channel:
        """There is a connection: begin."""
        self.error = None
        self._link = Link(peer, self._clock)
        self.progress.expected_downtime = self._parameters["downtime-limit"]
        self._later(self._begin)
        return self._link.channel

    def _later(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the present command has been answered.

        In QEMU a thread does the work, which does not begin before.
        """
        self._clock.call_soon(lambda: self._clock.call_soon(callback))

    def _begin(self) -> None:
        if self.running and not self._abandoned:
            self._task = self._clock.enter(self._run(), "migration")

    def cancel(self) -> None:
        """Command migrate_cancel."""
        if not self.running or self.state == "cancelling":
            return
        before = self.state
        self.set_state("cancelling")
        if before == "pre-switchover":
            self.go_on()
        if self._link is None:
            if self.dial is not None:
                self.dial.cancel()
            self.set_state("cancelled")
        else:
            self._link.cancelled = True
            self.cut()

    def cut(self) -> None:
        """Break the connection, as yank does."""
        if self._link is not None:
            self._link.fail()
            self._later(self._link.channel.closed)
            self.wake()

    async def abandon(self) -> None:
        """The machine ends: leave it as it is (``migration_shutdown``)."""
        if not self.running or self._abandoned:
            return
        self._abandoned = True
        if self.state != "cancelling":
            self.set_state("cancelling")
        if self._task is not None:
            self._task.cancel()
        elif self.dial is not None:
            self.dial.cancel()
        if self._bitmaps is not None:
            await self._bitmaps.release()
        if self._link is not None:
            self._link.channel.cut()

    def go_on(self) -> None:
        """Command migrate-continue: leave pre-switchover."""
        if self._pause is not None:
            self._later(self._pause.wake)

    def wake(self) -> None:
        """Look now at what is left, and at what has been asked for."""
        if self._round is not None:
            self._later(self._round.wake)

    async def _wait(self, nanoseconds: int) -> None:
        """Wait so long, or until `wake`."""
        self._round = Waiter()
        timer = self._clock.call_later(nanoseconds, self._round.wake)
        try:
            await self._round
        finally:
            self._round = None
            timer.cancel()
