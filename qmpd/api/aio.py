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
from qmpd.api.aio_bench import OnBench
from qmpd.api.aio_handles import Clock, Disk, Job
from qmpd.api.arguments import command_arguments
from qmpd.api.asks import Answer
from qmpd.api.core import Core
from qmpd.api.drivers import OnLoop, Work
from qmpd.api.marks import load
from qmpd.api.setup import BoardName, ClockName, Disks, Images, PersonalityName, Setup, StorageName
from qmpd.api.waits import WAIT
from qmpd.errors import MachineClosed
from qmpd.sim.match import Event, Match, event_match

if TYPE_CHECKING:
    from qmpd.block.images import Storage
    from qmpd.block.images.access import Paths
    from qmpd.loop.task import Task
    from qmpd.profile import Profile

T = TypeVar("T")


class Machine(OnBench):
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
        incoming: bool = False,
        allow_write: Paths | None = None,
        allow_read: Paths | None = None,
        allow_sockets: Paths | None = None,
        memory_limit: str | int | None = None,
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
            incoming,
            allow_write,
            allow_read,
            allow_sockets,
            memory_limit,
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

    def send_fd_scm(self, fd: int) -> None:
        """Hand over a file descriptor: see `qmpd.Machine.send_fd_scm`."""
        self._core.send_fd_scm(fd)

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
        from qmpd.api.serving import ServedControl, socket_address
        from qmpd.api.sockets import SocketMonitor
        from qmpd.server.address import UnixAddress

        self._core.require_open()
        with socket_address(unix, tcp) as address:
            monitor = SocketMonitor(self._core, self._loop, address)
            ends = [monitor.close]
            try:
                if control is not None:
                    ends.append(ServedControl(self._core, self._loop, control).close)
                with self._driver.serving():
                    yield address.path if isinstance(address, UnixAddress) else monitor.port
            finally:
                for end in ends:
                    end()
