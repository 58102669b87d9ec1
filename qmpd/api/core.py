"""One machine, and everything a program can ask of it, as coroutines.

They wait for a `Waiter` and for nothing else, as the block layer does, so whoever runs the
machine's clock runs them: a program by hand, or an event loop.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.api.events import Event, EventQueue, Match, Watch, any_of
from qmpd.api.host import ProgramHost
from qmpd.api.jobs import JobRecords
from qmpd.errors import MachineClosed, from_answer
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.task import Handle, Waiter
from qmpd.machine.disks import add_disk
from qmpd.monitor.monitors import Monitors
from qmpd.monitor.transport import Output
from qmpd.sim.bench import Bench

if TYPE_CHECKING:
    from qmpd.api.setup import Setup

Answer = dict[str, Any]
"""An answer as it comes over QMP: ``{"return": ...}`` or ``{"error": {"class", "desc"}}``."""

WAIT: Final = 60.0
"""Seconds that a wait lasts unless it is said otherwise, as in `qemu.machine`."""

LABEL: Final = "program"
"""The monitor of the program that holds the machine, in the journal."""


class _Asked:
    """A request that has been sent, and its answer once it is there."""

    def __init__(self) -> None:
        self.waiter = Waiter()
        self.answer: Answer | None = None


class Core:
    """A machine, its monitors, and the program's own monitor among them.

    :param setup: what it is made of
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.clock = setup.make_clock()
        self.host = ProgramHost(self._shutdown_begins, self._replaces_files)
        self.machine = setup.make_machine(self.clock, self.host)
        self.monitors = Monitors(self.machine)
        self.bench = Bench(self.machine, self.monitors, self.clock)
        self.events = EventQueue()
        self.jobs = JobRecords()
        self.on_closed: Callable[[], None] | None = None
        """Called when the machine has ended by itself, because somebody said ``quit``."""
        self.call_after: Callable[[float, Callable[[], None]], Handle] = self.call_after_clock
        """Sets a timer of so many seconds for a program that waits."""
        self._asked: deque[_Asked] = deque()
        self._monitor = self.monitors.add_qmp(LABEL, Output(self._received))

    @property
    def closed(self) -> bool:
        """Whether the machine has ended."""
        return self.bench.closed

    def _replaces_files(self) -> bool:
        return self.machine.services.storage.changes_host

    async def start(self) -> None:
        """Add the disks, and negotiate.

        :raises QmpError: a disk cannot be made
        """
        for disk in self._setup.all_disks():
            private = disk.path is None and self._setup.keeps_disks_apart
            await add_disk(self.machine, disk, private=private)
        self._monitor.opened()
        await self.qmp("qmp_capabilities", None)

    async def close(self) -> None:
        """End jobs and exports, flush and close the images."""
        if not self.closed:
            self.bench.closed = True
            await self.machine.close()
            self._give_up()

    def _shutdown_begins(self) -> None:
        self.monitors.stop(self._end)

    def _end(self) -> None:
        if not self.closed:
            self.bench.closed = True
            self.clock.enter(self.machine.close(), "end", lambda _: self._ended())

    def _ended(self) -> None:
        self._give_up()
        if self.on_closed is not None:
            self.on_closed()

    def _give_up(self) -> None:
        self.monitors.close()
        self.machine.services.storage.close()
        while self._asked:
            self._asked.popleft().waiter.wake()

    # Commands

    async def qmp(self, command: str, arguments: Mapping[str, Any] | None) -> Answer:
        """Send a command and return its answer.

        :raises MachineClosed: there is no machine, or it ends before it answers
        """
        self.require_open()
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        data = json.dumps(request).encode()
        asked = _Asked()
        self._asked.append(asked)
        self._monitor.feed(data)
        if asked.answer is None:
            await asked.waiter
        if asked.answer is None:
            raise MachineClosed(f"the machine ended before it answered {command}")
        return asked.answer

    async def cmd(self, command: str, arguments: Mapping[str, Any] | None) -> Any:
        """Send a command and return its value.

        :raises QmpError: it fails
        """
        answer = await self.qmp(command, arguments)
        if "error" in answer:
            raise from_answer(answer["error"])
        return answer["return"]

    def require_open(self) -> None:
        """Check that the machine has not ended.

        :raises MachineClosed: it has
        """
        self.bench.require_open()

    def _received(self, data: bytes) -> None:
        for line in data.splitlines():
            message = json.loads(line)
            if "event" in message:
                self.jobs.see(message)
                self.events.put(message)
            elif "QMP" not in message:
                asked = self._asked.popleft()
                asked.answer = message
                asked.waiter.wake()

    # Waiting

    async def events_wait(
        self, events: Iterable[tuple[str, Match]], timeout: float | None
    ) -> Event | None:
        """Take the first event of those that match, waiting for it if need be.

        :param timeout: seconds of the machine's clock, 0 not to wait, None for no limit
        :raises TimeoutError: it does not come in time
        """
        wanted = list(events)
        wants = any_of(wanted)
        found = self.events.take(wants)
        if found is not None or timeout == 0:
            return found
        self.require_open()
        names = " or ".join(name for name, _ in wanted)
        return await self._see(self.events.watch(wants), timeout, f"event {names}")

    async def any_event(self, timeout: float | None) -> Event | None:
        """Wait for the next event and take it.

        :raises TimeoutError: none comes in time
        """
        self.require_open()
        return await self._see(self.events.watch(lambda _: True), timeout, "an event")

    async def job_wait(self, job_id: str, statuses: Iterable[str], timeout: float | None) -> str:
        """Wait until a job has one of `statuses`, or has ended; returns its status then.

        :raises LookupError: there never was such a job
        :raises TimeoutError: it takes longer
        """
        record = self.jobs.find(job_id)
        ends = {*statuses, "concluded", "null"}
        if record.status not in ends:
            watch = self.events.watch(lambda _: record.status in ends, takes=False)
            await self._see(watch, timeout, f"job '{job_id}', which is {record.status}")
        if record.status == "concluded" and not self.closed:
            # one that does not stay has gone by the time of an answer
            await self.qmp("query-jobs", None)
        return record.status

    def call_after_clock(self, seconds: float, callback: Callable[[], None]) -> Handle:
        """Set a timer of the machine's clock."""
        return self.clock.call_later(round(seconds * NANOSECONDS), callback)

    async def _see(self, watch: Watch, timeout: float | None, what: str) -> Event | None:
        timer = None
        if timeout is not None:
            timer = self.call_after(timeout, watch.waiter.wake)
        try:
            await watch.waiter
        finally:
            self.events.unwatch(watch)
            if timer is not None:
                timer.cancel()
        if watch.event is None:
            raise TimeoutError(f"waited {timeout} s for {what}")
        return watch.event
