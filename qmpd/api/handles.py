"""Parts of a machine, as a program looks at them: disks, jobs, bitmaps, its clock and its loop.

A handle is a name and nothing else: it stands for whatever has that name when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qmpd.api import views
from qmpd.api.guests import Workload
from qmpd.loop.clock import NANOSECONDS
from qmpd.sim import time
from qmpd.sim.guests.disk import GuestDisk, MapEntry
from qmpd.sim.guests.pattern import bytes_of
from qmpd.sim.guests.workload import Workload as SimWorkload

if TYPE_CHECKING:
    from qmpd.api.drivers import Driven
    from qmpd.sim.match import Event, Match


class Disk:
    """A disk as its guest sees it.  Offsets and lengths are in bytes.

    Requests are counted in query-blockstats, throttled, and seen by bitmaps and jobs.  Those that
    fail raise `qmpd.errors.BlockIOError`, with an ``errno``.  Every request raises `LookupError`
    when there is no such disk.
    """

    def __init__(self, machine: Driven, name: str) -> None:
        self._machine = machine
        self._guest = GuestDisk(machine._core.bench, name)
        self.name = name

    def read(self, offset: int, length: int) -> bytes:
        """Read `length` bytes."""
        return self._machine._driver.run(
            self._guest.read(offset, length), f"a read from {self.name}"
        )

    def write(
        self,
        offset: int,
        data: bytes | None = None,
        *,
        pattern: int | bytes | None = None,
        length: int | None = None,
        fua: bool = False,
    ) -> None:
        """Write `data`, or `length` bytes of a pattern.

        :param pattern: a byte, or several that are repeated; 0 if absent
        :param fua: whether the data is to be durable when the write ends (force unit access)
        """
        work = self._guest.write(offset, bytes_of(data, pattern, length), fua=fua)
        self._machine._driver.run(work, f"a write to {self.name}")

    def workload(
        self,
        seed: int,
        writes: int = 100,
        size: int = 4096,
        region: tuple[int, int] | None = None,
        interval: float = 0.01,
    ) -> Workload:
        """Write in the background, as long as time passes, while jobs are at work.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"a": "16M", "b": "16M"}) as vm:
        ...     work = vm.disk("a").workload(seed=1, writes=50)
        ...     options = {"target": "b", "sync": "full"}
        ...     _ = vm.cmd("blockdev-mirror", job_id="j", device="a", **options)
        ...     _ = vm.job("j").wait("ready")
        ...     work.wait()
        ...     vm.cmd("job-complete", id="j")
        ...     _ = vm.job("j").wait()
        ...     work.check("b")
        ...     len(work.writes)
        {}
        50

        :param seed: says what is written and where: the same seed, the same writes
        :param writes: how many there are
        :param size: bytes of each
        :param region: where they go: offset and length in bytes; the whole disk if absent
        :param interval: seconds of the machine's clock before each
        :raises LookupError: there is no such disk
        :raises ValueError: a number that makes no sense
        """
        machine = self._machine

        def start() -> SimWorkload:
            workload = SimWorkload(
                machine._core.bench,
                self.name,
                seed,
                writes=writes,
                size=size,
                region=region,
                interval=round(interval * NANOSECONDS),
            )
            workload.start()
            return workload

        return Workload(machine, machine._driver.call(start))

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Write zeroes without sending them.

        :param unmap: whether their storage may be freed
        """
        work = self._guest.write_zeroes(offset, length, unmap=unmap)
        self._machine._driver.run(work, f"a write to {self.name}")

    def discard(self, offset: int, length: int) -> None:
        """Tell the disk that the content of an area is no longer needed."""
        work = self._guest.discard(offset, length)
        self._machine._driver.run(work, f"a discard of {self.name}")

    def flush(self) -> None:
        """Make everything written so far durable."""
        self._machine._driver.run(self._guest.flush(), f"a flush of {self.name}")

    @property
    def size(self) -> int:
        """Size of the disk."""
        return self._machine._driver.call(self._guest.size)

    def map(self) -> list[MapEntry]:
        """What holds each area of the disk, as ``qemu-img map`` tells it.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        ...     vm.disk("disk0").write(65536, b"x" * 4096)
        ...     for area in vm.disk("disk0").map():
        ...         print(area.start, area.length, area.data)
        0 65536 False
        65536 4096 True
        69632 978944 False
        """
        return self._machine._driver.run(self._guest.map(), f"a map of {self.name}")


class Bitmap:
    """A dirty bitmap.

    >>> import qmpd
    >>> with qmpd.Machine(disks={"disk0": "1M"}) as vm:
    ...     _ = vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0", granularity=65536)
    ...     vm.disk("disk0").write(70000, b"x")
    ...     bitmap = vm.bitmap("disk0", "b0")
    ...     print(bitmap.extents, bitmap.count, bitmap.recording)
    [(65536, 65536)] 65536 True

    :raises LookupError: there is no such bitmap (raised by everything that is asked)
    """

    def __init__(self, machine: Driven, node: str, name: str) -> None:
        self._machine = machine
        self.node = node
        self.name = name

    def _view(self) -> views.BitmapView:
        core = self._machine._core
        return self._machine._driver.call(lambda: views.bitmap(core, self.node, self.name))

    @property
    def extents(self) -> list[tuple[int, int]]:
        """The dirty areas as offset and length in bytes, in order, as long as can be."""
        return self._view().extents

    @property
    def count(self) -> int:
        """How many bytes are dirty, in whole granules."""
        return self._view().count

    @property
    def granularity(self) -> int:
        """Bytes that one bit stands for."""
        return self._view().granularity

    @property
    def recording(self) -> bool:
        """Whether guest writes are recorded: it is enabled, or in use by an operation that is."""
        return self._view().recording

    @property
    def busy(self) -> bool:
        """Whether a job or an export uses it."""
        return self._view().busy

    @property
    def persistent(self) -> bool:
        """Whether it is stored in the image when that is closed."""
        return self._view().persistent

    @property
    def inconsistent(self) -> bool:
        """Whether it was not stored properly, so that it can only be removed."""
        return self._view().inconsistent

    @property
    def info(self) -> dict[str, Any]:
        """Its BlockDirtyInfo, from query-named-block-nodes."""
        return self._view().info


class Clock:
    """The machine's time."""

    def __init__(self, machine: Driven) -> None:
        self._machine = machine

    @property
    def now(self) -> float:
        """Seconds since the machine was made."""
        return self.now_ns / NANOSECONDS

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the machine was made."""
        return self._machine._driver.call(lambda: self._machine._core.clock.now())

    def advance(self, seconds: float) -> None:
        """Let time pass; the machine does what falls due.

        On a real clock it takes that long.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"a": "4M", "b": "4M"}, clock="held") as vm:
        ...     vm.disk("a").write(0, b"x" * 4194304)
        ...     options = {"target": "b", "sync": "full", "speed": 1 << 20}
        ...     _ = vm.cmd("blockdev-backup", job_id="j", device="a", **options)
        ...     print(vm.job("j").status)
        ...     vm.clock.advance(10)
        ...     print(vm.job("j").status)
        running
        null
        """
        work = time.advance(self._machine._core.clock, round(seconds * NANOSECONDS))
        self._machine._driver.run(work, f"{seconds} s of the clock")

    def until_idle(self, limit: float = 86400.0) -> None:
        """Let time pass until no timer is set: until everything that ends by itself has ended.

        :param limit: seconds after which it gives up
        :raises TimeoutError: there are still timers by then, of a job that waits for a command
            for instance
        """
        work = time.until_idle(self._machine._core.clock, round(limit * NANOSECONDS))
        self._machine._driver.run(work, "the machine to be idle")

    def until(self, name: str, match: Match = None, limit: float = 86400.0) -> Event:
        """Let time pass until an event comes, and no longer; the event is taken.

        A held clock moves, too: that is how this differs from `Machine.event_wait`.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"a": "64M", "b": "64M"}, clock="held") as vm:
        ...     for mib in range(64):
        ...         vm.disk("a").write(mib << 20, b"x" * 1048576)
        ...     options = {"target": "b", "sync": "full", "speed": 1 << 20}
        ...     _ = vm.cmd("blockdev-backup", job_id="j", device="a", **options)
        ...     event = vm.clock.until("BLOCK_JOB_COMPLETED", {"data": {"device": "j"}})
        ...     print(event["data"]["offset"], round(vm.clock.now))
        67108864 63

        :param name: the event's name; one that has come already and was not taken is taken at once
        :param match: what the event must have: see `Machine.event_match`
        :param limit: seconds of the machine's clock after which it gives up
        :returns: the event as it comes over QMP
        :raises TimeoutError: it does not come in time
        :raises qmpd.errors.WaitsForever: it cannot come: nothing is left to be done
        """
        work = self._machine._core.until(name, match, round(limit * NANOSECONDS))
        return self._machine._driver.run(work, f"event {name}")


class Loop:
    """The main loop, for programs that want to see the machine between two of its steps."""

    def __init__(self, machine: Driven) -> None:
        self._machine = machine

    def step(self) -> bool:
        """Let the machine do one thing that needs no time; whether there was one."""
        return self._machine._driver.call(lambda: self._machine._core.clock.step())

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Inside the block a call returns as soon as it has its result.

        What the machine would do after that waits for `step`, or for the next call.

        >>> import qmpd
        >>> with qmpd.Machine(disks={"a": "1M", "b": "1M"}) as vm, vm.loop.hold():
        ...     _ = vm.cmd("blockdev-backup", job_id="j", device="a", target="b", sync="full")
        ...     while vm.loop.step():
        ...         pass
        ...     vm.job("j").status
        'null'
        """
        by_hand = self._machine._by_hand
        before, by_hand.held = by_hand.held, True
        try:
            yield
        finally:
            by_hand.held = before
