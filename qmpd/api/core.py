"""One machine, and everything a program can ask of it, as coroutines.

They wait for a `Waiter` and for nothing else, as the block layer does, so whoever runs the
machine's clock runs them: a program by hand, or an event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, Final

from qmpd.api.asks import Asks
from qmpd.api.belongings import Belongings, Saved, Socket
from qmpd.api.by_hand import run_to_end
from qmpd.api.host import ProgramHost
from qmpd.block.images import MemoryStorage
from qmpd.loop.paced_clock import Pace
from qmpd.loop.served_completions import ServedCompletions
from qmpd.loop.task import Task
from qmpd.machine.disks import add_disk
from qmpd.monitor.monitors import Monitors
from qmpd.monitor.transport import Output
from qmpd.sim.bench import Bench
from qmpd.sim.holder import World

if TYPE_CHECKING:
    from qmpd.api.setup import Setup
    from qmpd.block.images import Storage
    from qmpd.block.images.memory import MemoryFile
    from qmpd.loop.paced_clock import PacedClock
    from qmpd.monitor.monitor import Monitor
    from qmpd.sim.keeper import ForkMaker
    from qmpd.sim.state.checkpoint import Checkpoint

LABEL: Final = "program"
"""The monitor of the program that holds the machine, in the journal."""


MakeHost = Callable[[Callable[[], None]], ProgramHost]
"""What makes the host of a machine."""


class Core(Asks):
    """A machine, its monitors, and the program's own monitor among them.

    :param setup: what it is made of
    :param checkpoint: what it goes on from; a new machine if absent
    :param saved: of a machine that was saved: what there was in it
    :param make_host: makes the process that it lives in; see `ProgramHost` for its parameters
    """

    def __init__(
        self,
        setup: Setup,
        checkpoint: Checkpoint | None = None,
        saved: Saved | None = None,
        make_host: MakeHost = ProgramHost,
    ) -> None:
        super().__init__()
        self.setup = setup
        self._saved = saved
        self.host = make_host(self._shutdown_begins)
        self.host.machine = lambda: self.machine
        self.sockets: list[Socket] = []
        """Where clients come in, as long as the machine is served."""
        self.on_closed: Callable[[], None] | None = None
        """Called when the machine has ended by itself, because somebody said ``quit``."""
        self.on_cut: Callable[[], None] | None = None
        """Called when the machine has ended and whatever still waits for it waits in vain."""
        self.forks: ForkMaker | None = None
        """Who makes forks of it that are served, as long as somebody does."""
        self._bell: Callable[[], None] | None = None
        self._given_up = False
        self._storage: Storage
        self._own_disks: MemoryStorage
        self._random: Random
        if checkpoint is None:
            self._hold(self.make(anew=True))
        else:
            self._hold(*checkpoint.contents(self.outside()))
        self.bench = Bench(self.machine, self.monitors, self.clock, self, checkpoint)
        self.host.tell = self._nbd_client

    def _hold(self, world: World[PacedClock], belongings: Belongings | None = None) -> None:
        self.machine, self.monitors, self.clock = world
        if belongings is None:
            self._monitor = self.monitors.add_qmp(LABEL, Output(self._received, self._lost))
            return
        self._monitor = belongings.monitor
        self._storage = belongings.storage
        self._own_disks = belongings.own_disks
        self._random = belongings.random
        self.events.take_all()
        for event in belongings.events:
            self.events.put(event)
        self.jobs.replace(belongings.jobs)
        self.host.printed[:] = belongings.printed
        self.host.complaints[:] = belongings.complaints

    def outside(self) -> list[object]:
        """The program and its process: see `Holder.outside`."""
        return [self, self.host, self.host.apart]

    def kept_monitors(self) -> list[Monitor]:
        """The program's own monitor: see `Holder.kept_monitors`."""
        return [self._monitor]

    def belongings(self) -> Belongings:
        """What belongs to the machine, beside its monitors: see `Holder.belongings`."""
        return Belongings(
            self._monitor,
            self._storage,
            self._own_disks,
            self._random,
            self.events.kept(),
            self.jobs.records(),
            self.host.printed,
            self.host.complaints,
        )

    def _nbd_client(self, what: str) -> None:
        """Note that a client of NBD has come or gone."""
        self.bench.note("connection", what=what, server="nbd")

    @property
    def closed(self) -> bool:
        """Whether the machine has ended."""
        return self.bench.closed

    async def set_up(self, *, anew: bool = True) -> None:
        """Add the disks, and negotiate.

        :param anew: whether images that have a size are made
        :raises QmpError: a disk cannot be made
        """
        saved = self._saved
        with self._storage.host.naming():
            if anew and saved is not None and saved.description is not None:
                from qmpd.sim.state.rebuild import rebuild

                await rebuild(self.machine, saved.description)
                self.clock.go_on_from(saved.description["time"])
            else:
                await self._add_disks(make=anew and saved is None)
        self.machine.creation_done = True
        self._monitor.opened()
        await self.qmp("qmp_capabilities", None)

    async def _add_disks(self, *, make: bool) -> None:
        own = self._own_disks if self.setup.keeps_disks_apart else None
        for disk in self.setup.all_disks():
            private = own if disk.path is None else None
            await add_disk(self.machine, disk, private=private, make=make)

    def files(self) -> dict[str, MemoryFile]:
        """The files that the machine has in memory.

        :raises GenericError: they are not there
        """
        return {**self._storage.files(), **self._own_disks.files()}

    async def close(self) -> None:
        """End jobs and exports, flush and close the images."""
        self._given_up = True
        if not self.closed:
            self.bench.closed = True
            await self.machine.close()
            self._give_up()

    def let_time_pass(self) -> None:
        """Let a held clock go on as it has to: nobody will move it any more."""
        if self.clock.pace is Pace.HELD:
            self.clock.pace = Pace.VIRTUAL

    def _shutdown_begins(self) -> None:
        self.monitors.stop(self._end)

    def _end(self) -> None:
        if not self.closed:
            self.bench.closed = True
            self.bench.ending = self.clock.enter(
                self.machine.close(), "end", lambda _: self._ended()
            )

    def _ended(self) -> None:
        self._give_up()
        if self.on_closed is not None:
            self.on_closed()

    def _give_up(self) -> None:
        self.bench.note("machine", what="closed")
        self.monitors.close()
        self._wake_all()

    def _wake_all(self) -> None:
        """Let those go on who wait for an answer that will not come."""
        self._wake_asking()
        if self.on_cut is not None:
            self.on_cut()

    # Another machine in the place of the present one (`Holder`), and who runs it

    def _new_storage(self) -> Storage:
        if self._saved is None:
            return self.setup.make_storage()
        storage = self.setup.make_storage()
        assert isinstance(storage, MemoryStorage)
        for filename, file in self._saved.files.items():
            storage.put(filename, file.fork())
        return storage

    def make(self, *, anew: bool) -> World[PacedClock]:
        """Make a machine from the same arguments: see `Holder.make`.

        :raises MachineClosed: the machine has been closed for good
        """
        if self._given_up:
            self.require_open()
        if anew:
            self._storage = self._new_storage()
            self._own_disks = MemoryStorage(room=self._storage.room)
            self._random = Random(self.setup.seed)
            clock = self.setup.make_clock()
        else:
            clock = self.clock.successor()
        clock.completions = ServedCompletions(clock, self.host.apart)
        machine = self.setup.make_machine(clock, self.host, self._storage, self._random)
        return World(machine, Monitors(machine), clock)

    def switch(
        self, world: World[PacedClock], *, anew: bool, belongings: Belongings | None = None
    ) -> None:
        """Hold another machine: see `Holder.switch`."""
        before = self.clock
        self._disconnect()
        self._hold(world, belongings)
        before.on_change, self.clock.on_change = None, self._bell
        before.leave_to(self.clock)
        if anew:
            self.events.take_all()
            self.jobs.clear()
            self.host.printed.clear()
            self.host.complaints.clear()
        elif belongings is None:
            self.jobs.end_all()
        for connection in self.sockets:
            connection.join()
        self._wake_all()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, of this machine or of another one.

        :raises MachineClosed: the machine has been closed for good
        """
        if self._given_up:
            self.require_open()
        self.bench.restore(checkpoint)

    def save(self, checkpoint: Checkpoint, filename: str) -> None:
        """Write the machine of a checkpoint to a file: see `Keeper.save`."""
        Core(checkpoint.setup, checkpoint).leave_in(filename, checkpoint.time, mode=0o600)

    def leave_in(self, path: str | os.PathLike[str], now: int, *, mode: int = 0o666) -> None:
        """End the machine and write it to a file.

        :param now: its time, nanoseconds
        :param mode: permission bits of a new file, less those of the umask
        :raises OSError: it cannot be written
        :raises GenericError: there is something in it that cannot be told
        """
        from qmpd.sim.state.describe import describe
        from qmpd.sim.state.format import write

        description = {
            "setup": self.setup.describe(),
            "time": now,
            **describe(self.machine),
        }
        # images are as they are when the machine has ended: nothing is kept back, bitmaps are in
        what = "the end of the machine"
        task = self.enter(self.close(), what, lambda _: None)
        run_to_end(self, task, what)
        if task.error is not None:
            raise task.error
        write(path, description, self.files(), mode)

    def cut(self) -> None:
        """Disconnect everybody, because the machine was killed."""
        self._disconnect()
        self.jobs.end_all()
        self._wake_all()

    def _disconnect(self) -> None:
        self.host.cut()
        for connection in self.sockets:
            connection.disconnect()

    def set_bell(self, bell: Callable[[], None] | None) -> None:
        """Have `bell` rung whenever the machine has got something to do: see `PacedClock`."""
        self._bell = self.clock.on_change = bell

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call `callback` from the machine's loop, whichever machine there is."""
        self.clock.call_soon(callback)

    def task_failed(self, task: Task) -> None:
        """Never called: whoever enters a task looks at its end."""

    def enter(
        self, work: Coroutine[Any, Any, Any], what: str, done: Callable[[Task], None]
    ) -> Task:
        """Begin to run `work`, which may replace the machine.

        :param done: called with the task when it has ended
        """
        task = Task(self, work, what, done)
        task.step()
        return task

    def require_open(self) -> None:
        """Check that the machine has not ended.

        :raises MachineClosed: it has
        """
        self.bench.require_open()
