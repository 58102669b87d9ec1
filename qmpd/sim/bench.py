"""One machine on the bench, with everything that a test may do to it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qmpd.errors import MachineClosed, NotServed
from qmpd.loop.paced_clock import PacedClock
from qmpd.sim.holder import Program, World
from qmpd.sim.journal.log import Log

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Task
    from qmpd.machine.machine import Machine
    from qmpd.monitor.monitors import Monitors
    from qmpd.sim.faults.faults import Faults
    from qmpd.sim.guests.guest import Guest
    from qmpd.sim.journal.entry import Kind
    from qmpd.sim.journal.journal import Journal
    from qmpd.sim.keeper import ForkMaker, Keeper
    from qmpd.sim.pace import PaceTable
    from qmpd.sim.power.file import Keep
    from qmpd.sim.state.checkpoint import Checkpoint


class Bench:
    """A machine, its monitors, and the tools of the bench that act on them.

    The tools are made when they are first used: a machine that nobody tests pays nothing for them.
    `machine`, `monitors` and `clock` change when another machine takes the place of the present
    one (`replace`), so they must be asked for each time; a tool that has to do something then
    adds itself to `followers`.

    :param clock: what runs the machine
    :param holder: who holds the machine; without one it cannot be replaced
    :param origin: the checkpoint that the machine has begun from
    :param program: the process, where the machine has one that is its own
    """

    def __init__(
        self,
        machine: Machine,
        monitors: Monitors,
        clock: Clock,
        holder: Keeper | None = None,
        origin: Checkpoint | None = None,
        program: Program | None = None,
    ) -> None:
        self.machine = machine
        self.monitors = monitors
        self.clock = clock
        self.closed = False
        """Whether the machine has ended: it is off."""
        self.ending: Task | None = None
        """What ends the machine, once somebody has said ``quit``."""
        self.followers: list[Callable[[], None]] = []
        """Called, in their order, after each `replace`, before anything has been done to the new
        machine."""
        self.program = program
        self._holder = holder
        self._origin = origin
        self.log = Log(clock.now)
        """All that has happened to the machine."""
        self.watch()

    @cached_property
    def journal(self) -> Journal:
        """All that has happened to the machine, to be read."""
        from qmpd.sim.journal.journal import Journal

        return Journal(self.log)

    def watch(self) -> None:
        """Keep the journal of the machine and the monitors, which are new."""
        self.log.now = self.clock.now
        self.monitors.add_tap(self.log)
        self.machine.events.subscribe(self.log.happened)
        if isinstance(self.clock, PacedClock):
            self.clock.on_step = self.log.stepped

    def note(self, kind: Kind, *, monitor: str | None = None, **data: Any) -> None:
        """Note in the journal what did not come over a monitor.

        :param kind: what it is about; `qmpd.sim.journal.entry.KINDS` describes them
        :param monitor: the label of the monitor that it has to do with
        :param data: what happened, in plain values that JSON can show
        """
        self.log.note(kind, monitor, data)

    def require_open(self) -> None:
        """Check that the machine has not ended.

        :raises MachineClosed: it has
        """
        if self.closed:
            raise MachineClosed("the machine has been closed")

    def open_machine(self) -> Machine:
        """The machine that there is now.

        :raises MachineClosed: it has ended
        """
        self.require_open()
        return self.machine

    @cached_property
    def faults(self) -> Faults:
        """What fails on demand."""
        from qmpd.sim.faults.faults import Faults

        faults = Faults(self)
        self.followers.append(faults.follow)
        return faults

    @cached_property
    def paces(self) -> PaceTable:
        """How fast nodes are for jobs."""
        from qmpd.sim.pace import PaceTable

        paces = PaceTable(self.open_machine)
        self.followers.append(paces.follow)
        return paces

    @cached_property
    def guest(self) -> Guest:
        """The guest of the machine."""
        from qmpd.sim.guests.guest import Guest

        guest = Guest(self)
        self.followers.append(guest.follow)
        return guest

    @property
    def has_faults(self) -> bool:
        """Whether `faults` has ever been asked for."""
        return "faults" in self.__dict__

    @property
    def holder(self) -> Keeper:
        """Who holds the machine.

        :raises NotServed: nobody that could make another one
        """
        if self._holder is None:
            raise NotServed("Only a machine of 'qmpd serve' can be kept and brought back")
        return self._holder

    @property
    def forks(self) -> ForkMaker:
        """Who makes forks of the machine that are served.

        :raises NotServed: nobody does
        """
        forks = self.holder.forks
        if forks is None:
            raise NotServed("Forks of this machine cannot be served")
        return forks

    @property
    def world(self) -> World[Any]:
        """The machine, its monitors and its clock."""
        return World(self.machine, self.monitors, self.clock)

    # Another machine in the place of this one

    def replace(
        self, world: World[Any], what: str, *, anew: bool = False, belongings: Any = None
    ) -> None:
        """Go on with another machine in the place of the present one, which is given up.

        The present one does nothing any more: its images are let go without being written to,
        its tasks and timers are dropped, its clients disconnected, as `kill` does.

        :param what: why, for the journal: ``reset``, ``restarted``, ``restored``, ...
        :param anew: whether events and jobs of machines before are forgotten
        :param belongings: of a machine that is brought back: what belongs to it
        """
        holder = self.holder
        self._drop()
        holder.switch(world, anew=anew, belongings=belongings)
        self.machine, self.monitors, self.clock = world
        self.closed = False
        self.ending = None
        self.watch()
        self.note("machine", what=what)
        for follow in tuple(self.followers):
            follow()

    def kill(self) -> None:
        """End the machine where it stands, as ``kill -9`` does; a machine that is off stays so.

        Nothing more is written to any image, no event is sent, clients are disconnected.  What
        was written so far is in the images.
        """
        if not self.closed:
            # first: what nobody could make again is not dropped
            holder = self.holder
            self.note("machine", what="killed")
            self._drop()
            holder.cut()

    def _drop(self) -> None:
        self.closed = True
        self.machine.cut()
        self.monitors.close()
        self.clock.stop()

    def power_loss(self, keep: Keep = "random", seed: int = 0) -> None:
        """End the machine where it stands, and let images be what a disk may have kept of them.

        :param keep: how much of what was not flushed
        :param seed: chooses among the ways in which that may be
        :raises ValueError: no such `keep`, or a seed that is no number
        :raises GenericError: images do not keep the order of their writes
        """
        from qmpd.sim.power.loss import lose_power

        lose_power(self.machine, keep, seed, self.kill)
        self.note("machine", what="power lost", keep=keep, seed=seed)

    async def end(self) -> None:
        """End the machine as ``quit`` does: SHUTDOWN, jobs are cancelled, images are closed.

        A held clock goes on meanwhile as far as it has to.
        """
        with self.clock.let_go() if isinstance(self.clock, PacedClock) else nullcontext():
            await self._end()

    async def _end(self) -> None:
        if self.ending is not None:
            await self.ending.ended()
        if not self.closed:
            holder = self.holder
            self.machine.announce_end("host-qmp-quit")
            self.closed = True
            self.monitors.dispatcher.stop()
            await self.machine.close()
            self.monitors.close()
            holder.cut()

    async def restart(self) -> None:
        """End the machine, unless it is off, and start one of the same kind on the same images.

        Time goes on; bitmaps that are not persistent, jobs, exports and nodes that clients have
        added are gone.
        """
        await self.end()
        await self._start(anew=False)

    async def reset(self) -> None:
        """Make the machine as it was at the very beginning: images, time and all.

        A fork is again as it was at its mark.  Files of the host cannot be: they stay as they are,
        but for those that the machine made when it started, which it makes again.  Faults are
        removed.
        """
        if "faults" in vars(self):
            self.faults.clear()
        if self._origin is None:
            await self._start(anew=True)
        else:
            self.restore(self._origin, "reset")

    def checkpoint(self) -> Checkpoint:
        """Keep the machine as it is now.

        :raises GenericError: something is at work, or there are sockets or files of the host
        :raises MachineClosed: the machine has ended
        """
        from qmpd.sim.state.checkpoint import Checkpoint

        self.require_open()
        checkpoint = Checkpoint(self.world, self.holder, self.log.end)
        self.note("machine", what="checkpoint")
        return checkpoint

    def restore(self, checkpoint: Checkpoint, what: str = "restored") -> None:
        """Go on from a checkpoint, of this machine or of another one.

        What is under way is dropped; clients are disconnected, and may connect again.
        """
        world, belongings = checkpoint.contents(self.holder.outside())
        self.holder.setup = checkpoint.setup
        self.replace(world, what, belongings=belongings)

    async def _start(self, *, anew: bool) -> None:
        what = "reset" if anew else "restarted"
        self.replace(self.holder.make(anew=anew), what, anew=anew)
        await self.holder.set_up(anew=anew)
