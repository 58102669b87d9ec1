"""`qmpd.aio.Machine`: a machine on the event loop that runs the program.

Everything is as in `qmpd.api.machine`, but for the ``await``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from qmpd.api import views
from qmpd.api.aio_guests import Guest, Workload
from qmpd.api.arguments import command_arguments
from qmpd.api.core import WAIT, Answer, Core
from qmpd.api.drivers import OnLoop, Work
from qmpd.api.marks import Mark, load
from qmpd.api.setup import BoardName, ClockName, Disks, Images, PersonalityName, Setup, StorageName
from qmpd.errors import MachineClosed
from qmpd.loop.clock import NANOSECONDS
from qmpd.sim import time
from qmpd.sim.guests.disk import GuestDisk, MapEntry
from qmpd.sim.guests.pattern import bytes_of
from qmpd.sim.guests.workload import Workload as SimWorkload
from qmpd.sim.match import Event, Match, event_match

if TYPE_CHECKING:
    from qmpd.api.faults import Faults
    from qmpd.block.images import Storage
    from qmpd.loop.task import Task
    from qmpd.profile import Profile
    from qmpd.sim.journal.journal import Journal
    from qmpd.sim.power.file import Keep

T = TypeVar("T")


class Machine:
    """An emulated QEMU with disks, on the running event loop of asyncio or uvloop.

    It is an asynchronous context manager, and there when the block begins.  One loop may have
    any number of machines, which go on side by side.

    A virtual clock jumps while a task waits for the machine and the machine has nothing to do.
    Other tasks may act meanwhile, so a ``timeout`` is in the wall's seconds, and nothing raises
    `qmpd.errors.WaitsForever`.

    The parameters are those of `qmpd.Machine`.
    """

    def __init__(
        self,
        *,
        disks: Disks | None = None,
        images: Images | None = None,
        storage: StorageName | Storage = "memory",
        version: str | Profile = "10.0",
        clock: ClockName = "virtual",
        seed: int | None = None,
        personality: PersonalityName = "system",
        name: str | None = None,
        uuid: str = "00000000-0000-0000-0000-000000000000",
        paused: bool = False,
        power: bool = False,
        board: BoardName = "none",
        schedule: int | None = None,
    ) -> None:
        setup = Setup(
            disks or {},
            images or {},
            storage,
            version,
            clock,
            seed,
            personality,
            name,
            uuid,
            paused,
            power,
            board,
            schedule,
        )
        self._hold(Core(setup), is_new=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The machine that `Mark.save` has written, within ``async with``: `qmpd.Machine.load`."""
        machine = cls.__new__(cls)
        machine._hold(load(path), is_new=True)
        return machine

    def _hold(self, core: Core, *, is_new: bool) -> None:
        self._core = core
        self._is_new = is_new
        core.on_cut = self._cut
        self._waits: dict[asyncio.Future[Any], Task] = {}
        self._loop: asyncio.AbstractEventLoop
        self._driver: OnLoop

    @classmethod
    def _of_core(cls, core: Core) -> Self:
        """A machine that has been set up."""
        machine = cls.__new__(cls)
        machine._hold(core, is_new=False)
        return machine

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._driver = OnLoop(self._core, self._loop, served=False)
        if not self._is_new:
            return self
        try:
            await self._run(self._core.set_up(), "the start of the machine")
        except BaseException:
            self._driver.detach()
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, work: Work[T], what: str) -> T:
        future: asyncio.Future[T] = self._loop.create_future()

        def done(task: Task) -> None:
            if future.done():
                return
            if task.error is not None:
                future.set_exception(task.error)
            else:
                future.set_result(task.result)

        task = self._driver.enter(work, what, done)
        if task.done:
            return await future
        self._waits[future] = task
        try:
            return await future
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            del self._waits[future]

    def _cut(self) -> None:
        """Tell those who wait that the machine has ended."""
        for future, task in list(self._waits.items()):
            if task.is_waiting and not future.done():
                future.set_exception(MachineClosed(f"the machine ended: {task.name}"))
                task.cancel()

    async def close(self) -> None:
        """End jobs and exports and close all images, as `qmpd.Machine.close` does."""
        self._core.let_time_pass()
        await self._run(self._core.close(), "the end of the machine")
        self._driver.detach()

    @property
    def closed(self) -> bool:
        """Whether the machine has ended: by `close`, or because somebody said ``quit``."""
        return self._core.closed

    async def reset(self) -> None:
        """Make the machine as it was when it was made: see `qmpd.Machine.reset`."""
        await self._run(self._core.bench.reset(), "the reset of the machine")

    def crash(self) -> None:
        """End the machine where it stands, as ``kill -9`` does: see `qmpd.Machine.crash`.

        Nothing of it is awaited; whoever waits for the machine gets `MachineClosed`.
        """
        self._core.bench.kill()

    def power_loss(self, *, keep: Keep = "random", seed: int = 0) -> None:
        """Crash, and lose what disks had not flushed: see `qmpd.Machine.power_loss`."""
        self._core.bench.power_loss(keep, seed)

    async def restart(self) -> None:
        """End the machine and start it again on its images: see `qmpd.Machine.restart`."""
        await self._run(self._core.bench.restart(), "the restart of the machine")

    async def checkpoint(self) -> Mark[Self]:
        """Keep the machine as it is now: see `qmpd.Machine.checkpoint`."""
        return Mark(type(self), self._core.setup, self._core.bench.checkpoint())

    async def restore(self, mark: Mark[Any]) -> None:
        """Go back to a mark: see `qmpd.Machine.restore`."""
        self._core.restore(mark._setup, mark._checkpoint)

    # Commands

    async def cmd(self, cmd: str, args_dict: Mapping[str, Any] | None = None, **args: Any) -> Any:
        """Run a QMP command and return its value: see `qmpd.Machine.cmd`.

        Tasks may run commands at the same time; the machine takes one after the other.
        """
        work = self._core.cmd(cmd, command_arguments(args_dict, args))
        return await self._run(work, f"command {cmd}")

    async def qmp(
        self, cmd: str, args_dict: Mapping[str, Any] | None = None, **args: Any
    ) -> Answer:
        """Run a QMP command and return its answer: see `qmpd.Machine.qmp`."""
        work = self._core.qmp(cmd, command_arguments(args_dict, args))
        return await self._run(work, f"command {cmd}")

    async def hmp(self, command_line: str) -> str:
        """Run a line of the human monitor: see `qmpd.Machine.hmp`."""
        text: str = await self.cmd("human-monitor-command", {"command-line": command_line})
        return text

    @property
    def printed(self) -> list[str]:
        """What QEMU would have printed on its standard output; may be cleared."""
        return self._core.host.printed

    @property
    def complaints(self) -> list[str]:
        """What QEMU would have printed on its standard error; may be cleared."""
        return self._core.host.complaints

    # Events

    async def event_wait(
        self, name: str, timeout: float | None = WAIT, match: Match = None
    ) -> Event | None:
        """Take the first event of a name, waiting for it: see `qmpd.Machine.event_wait`.

        :param timeout: seconds of the wall's clock
        """
        return await self.events_wait([(name, match)], timeout)

    async def events_wait(
        self, events: Sequence[tuple[str, Match]], timeout: float | None = WAIT
    ) -> Event | None:
        """Take the first of several events: see `event_wait`."""
        return await self._run(self._core.events_wait(events, timeout), "an event")

    async def get_qmp_event(self, wait: bool | float = False) -> Event | None:
        """Take the oldest event: see `qmpd.Machine.get_qmp_event`."""
        kept = self._core.events.take(lambda _: True)
        if kept is not None or wait is False:
            return kept
        return await self._run(self._core.any_event(None if wait is True else wait), "an event")

    async def get_qmp_events(self, wait: bool | float = False) -> list[Event]:
        """Take all events that have come: see `qmpd.Machine.get_qmp_events`."""
        events = self._core.events.take_all()
        if not events and wait is not False:
            first = await self.get_qmp_event(wait)
            events = [first] if first is not None else []
            events += self._core.events.take_all()
        return events

    event_match = staticmethod(event_match)

    # Views

    def disk(self, name: str) -> Disk:
        """The disk of a name, to read and write as its guest does: see `qmpd.Machine.disk`."""
        return Disk(self, name)

    def job(self, job_id: str) -> Job:
        """The job of an id, running or gone."""
        return Job(self, job_id)

    async def bitmap(self, node: str, name: str) -> views.BitmapView:
        """A dirty bitmap as it is now, with the members of `qmpd.api.handles.Bitmap`.

        :raises LookupError: there is none
        """
        return views.bitmap(self._core, node, name)

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """What query-named-block-nodes says of each node, by the nodes' names, newest first."""
        infos = await self.cmd("query-named-block-nodes", {"flat": True})
        return {info["node-name"]: info for info in infos}

    @property
    def clock(self) -> Clock:
        """The machine's time."""
        return Clock(self)

    # The test bench

    @property
    def faults(self) -> Faults:
        """What is to fail: requests, commands, connections.  Nothing of it is awaited."""
        from qmpd.api.faults import Faults

        return Faults(lambda function: function(), self._core.bench)

    @property
    def journal(self) -> Journal:
        """All that has happened to the machine: see `qmpd.Machine.journal`."""
        return self._core.bench.journal

    @property
    def guest(self) -> Guest:
        """The guest: see `qmpd.Machine.guest`."""
        return Guest(self._run, self._core.bench)

    def pace(self, node: str, *, bytes_per_second: int | None = None, seconds: float = 0.0) -> None:
        """Say how fast a node is for jobs: see `qmpd.Machine.pace`."""
        self._core.bench.paces.set(node, bytes_per_second, seconds)

    # Sockets

    @overload
    def serve(
        self,
        unix: str | os.PathLike[str] | None = None,
        *,
        control: str | os.PathLike[str] | None = None,
    ) -> AbstractAsyncContextManager[str]: ...

    @overload
    def serve(
        self, *, tcp: tuple[str, int], control: str | os.PathLike[str] | None = None
    ) -> AbstractAsyncContextManager[tuple[str, int]]: ...

    @asynccontextmanager
    async def serve(
        self,
        unix: str | os.PathLike[str] | None = None,
        *,
        tcp: tuple[str, int] | None = None,
        control: str | os.PathLike[str] | None = None,
    ) -> AsyncIterator[Any]:
        """Put the machine behind a socket: see `qmpd.Machine.serve`.

        The program's own loop serves it, there is no thread.  A virtual clock jumps whenever the
        machine has nothing to do.
        """
        from qmpd.api.serving import SocketMonitor, control_socket, socket_address
        from qmpd.server.address import UnixAddress

        self._core.require_open()
        with socket_address(unix, tcp) as address:
            monitor = SocketMonitor(self._core, self._loop, address)
            ends = [monitor.close]
            try:
                if control is not None:
                    ends.append(control_socket(self._core, self._loop, control).close)
                with self._driver.serving():
                    yield address.path if isinstance(address, UnixAddress) else monitor.port
            finally:
                for end in ends:
                    end()


class Disk:
    """A disk as its guest sees it: see `qmpd.api.handles.Disk`."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._machine = machine
        self._guest = GuestDisk(machine._core.bench, name)
        self.name = name

    async def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes."""
        return await self._machine._run(self._guest.read(offset, length), "a read")

    async def write(
        self,
        offset: int,
        data: bytes | None = None,
        *,
        pattern: int | bytes | None = None,
        length: int | None = None,
        fua: bool = False,
    ) -> None:
        """Write `data`, or `length` bytes of a pattern: see `qmpd.api.handles.Disk.write`."""
        work = self._guest.write(offset, bytes_of(data, pattern, length), fua=fua)
        await self._machine._run(work, "a write")

    def workload(
        self,
        seed: int,
        writes: int = 100,
        size: int = 4096,
        region: tuple[int, int] | None = None,
        interval: float = 0.01,
    ) -> Workload:
        """Write in the background: see `qmpd.api.handles.Disk.workload`."""
        workload = SimWorkload(
            self._machine._core.bench,
            self.name,
            seed,
            writes=writes,
            size=size,
            region=region,
            interval=round(interval * NANOSECONDS),
        )
        workload.start()
        return Workload(self._machine._run, workload)

    async def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Write zeroes without sending them; with `unmap` their storage may be freed."""
        await self._machine._run(self._guest.write_zeroes(offset, length, unmap=unmap), "a write")

    async def discard(self, offset: int, length: int) -> None:
        """Tell the disk that the content of an area is no longer needed."""
        await self._machine._run(self._guest.discard(offset, length), "a discard")

    async def flush(self) -> None:
        """Make everything written so far durable."""
        await self._machine._run(self._guest.flush(), "a flush")

    @property
    def size(self) -> int:
        """Size of the disk in bytes."""
        return self._guest.size()

    async def map(self) -> list[MapEntry]:
        """What holds each area of the disk, as ``qemu-img map`` tells it."""
        return await self._machine._run(self._guest.map(), "a map")


class Job:
    """A job, which may have gone already: see `qmpd.api.handles.Job`."""

    def __init__(self, machine: Machine, job_id: str) -> None:
        self._machine = machine
        self.id = job_id

    async def status(self) -> str:
        """The job's status, as in query-jobs; ``null`` when it has gone."""
        jobs = await self._machine.cmd("query-jobs")
        return views.job_status(jobs, self._machine._core.jobs, self.id)

    async def progress(self) -> tuple[int, int]:
        """How far the job has come and how far there is to go."""
        jobs = await self._machine.cmd("query-jobs")
        return views.job_progress(jobs, self._machine._core.jobs, self.id)

    async def error(self) -> str | None:
        """Why the job failed; None if it has not."""
        jobs = await self._machine.cmd("query-jobs")
        return views.job_error(jobs, self._machine._core.jobs, self.id)

    async def wait(self, *statuses: str, timeout: float | None = WAIT) -> str:
        """Wait until the job has one of `statuses`, or has ended; returns its status then.

        :param timeout: seconds of the wall's clock, None for no limit
        """
        work = self._machine._core.job_wait(self.id, statuses, timeout)
        return await self._machine._run(work, f"job '{self.id}'")


class Clock:
    """The machine's time: see `qmpd.api.handles.Clock`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def now(self) -> float:
        """Seconds since the machine was made."""
        return self.now_ns / NANOSECONDS

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the machine was made."""
        return self._machine._core.clock.now()

    async def advance(self, seconds: float) -> None:
        """Let time pass; the machine does what falls due."""
        work = time.advance(self._machine._core.clock, round(seconds * NANOSECONDS))
        await self._machine._run(work, "the clock")

    async def until_idle(self, limit: float = 86400.0) -> None:
        """Let time pass until no timer is set.

        :raises TimeoutError: there are still timers after `limit` seconds of the machine's clock
        """
        work = time.until_idle(self._machine._core.clock, round(limit * NANOSECONDS))
        await self._machine._run(work, "the machine to be idle")

    async def until(self, name: str, match: Match = None, limit: float = 86400.0) -> Event:
        """Let time pass until an event comes, and no longer: see `qmpd.api.handles.Clock.until`.

        :raises TimeoutError: it does not come within `limit` seconds of the machine's clock
        """
        work = self._machine._core.until(name, match, round(limit * NANOSECONDS))
        return await self._machine._run(work, f"event {name}")
