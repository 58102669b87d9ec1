"""Disks, jobs and clocks of `qmpd.aio.Machine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from qmpd.api import views
from qmpd.api.aio_guests import Workload
from qmpd.api.waits import WAIT
from qmpd.loop.clock import NANOSECONDS
from qmpd.sim import time
from qmpd.sim.guests.disk import GuestDisk, MapEntry
from qmpd.sim.guests.pattern import bytes_of
from qmpd.sim.guests.workload import Workload as SimWorkload
from qmpd.sim.match import Event, Match

if TYPE_CHECKING:
    from qmpd.api.core import Core
    from qmpd.api.drivers import Work

T = TypeVar("T")


class Machine(Protocol):
    """A machine on an event loop, as its disks, jobs and clock see it."""

    _core: Core

    async def cmd(self, cmd: str, /) -> Any:
        """Run a command without arguments."""

    async def _run(self, work: Work[T], what: str) -> T:
        """Run `work` on the machine's loop."""
        raise NotImplementedError


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
    """A job, which may have gone already: see `qmpd.api.job.Job`."""

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
