"""Jobs that copy nothing: stand-ins for the types to come, to test the core with."""

from __future__ import annotations

import errno
from collections.abc import Coroutine
from typing import Any

from qmpd.errors import BlockIOError, QmpError
from qmpd.jobs.core.block_job import BlockJob
from qmpd.jobs.core.job_txn import JobTxn
from qmpd.jobs.core.options import JobOptions
from qmpd.jobs.core.states import ErrorAction, OnError
from tests.bitmaps.world import World

CHUNK = 65536


class Copy(BlockJob):
    """Copies `chunks` chunks; the ones in `failing` fail as often as it says there.

    `log` collects the hooks of its end.
    """

    job_type = "backup"

    def __init__(
        self,
        world: World,
        job_id: str | None = "j",
        *,
        chunks: int = 4,
        failing: dict[int, int] | None = None,
        error: int = errno.EIO,
        on_error: OnError = OnError.REPORT,
        fail_prepare: bool = False,
        txn: JobTxn | None = None,
        **options: Any,
    ) -> None:
        super().__init__(world.jobs, world.node, JobOptions(job_id, **options), txn=txn)
        self.chunks = chunks
        self.failing = dict(failing or {})
        self.errno = error
        self.on_error = on_error
        self.fail_prepare = fail_prepare
        self.log: list[str] = []
        try:
            self.take_main_node()
        except QmpError:
            world.run(self.fail_creation())
            raise

    async def run(self) -> None:
        self.progress.total = self.chunks * CHUNK
        while self.progress.current < self.progress.total:
            await self.limit_speed()
            if self.cancelled:
                return
            await self._copy()

    async def _copy(self) -> None:
        number = self.progress.current // CHUNK
        if self.failing.get(number, 0):
            self.failing[number] -= 1
            action = self.io_failed(self.on_error, self.errno, read=False)
            if action is ErrorAction.REPORT:
                raise BlockIOError(self.errno)
            if action is ErrorAction.STOP:
                return
        self.processed(CHUNK)
        self.progress.current += CHUNK

    async def prepare(self) -> None:
        self.log.append("prepare")
        if self.fail_prepare:
            raise BlockIOError(errno.ENOSPC)

    async def commit(self) -> None:
        self.log.append("commit")

    async def abort(self) -> None:
        self.log.append("abort")

    async def clean(self) -> None:
        self.log.append("clean")
        await self.free_nodes()


class Mirror(Copy):
    """Becomes ready, then goes on until it is completed, or cancelled."""

    job_type = "mirror"
    can_complete = True
    can_change = True
    completing = False

    async def run(self) -> None:
        await super().run()
        if self.cancelled:
            return
        self.become_ready()
        while not (self.completing or self.cancel_requested):
            await self.idle()

    async def complete_work(self) -> None:
        self.completing = True
        if not self.paused:
            self.enter()

    def on_cancel(self, force: bool) -> bool:
        return force or not self.ready

    async def change_work(self, options: Any) -> None:
        self.log.append(f"change {options}")

    def more_info(self) -> dict[str, Any]:
        return {"actively-synced": True}


class JobWorld(World):
    """Shows events in short: ``running j``, ``COMPLETED j``, ``COMPLETED j: error``."""

    def seen(self) -> list[str]:
        """Events since the last call."""
        events, self.events[:] = list(self.events), []
        shown = []
        for name, data in events:
            assert data is not None
            if name == "JOB_STATUS_CHANGE":
                shown.append(f"{data['status']} {data['id']}")
                continue
            text = f"{name.removeprefix('BLOCK_JOB_')} {data.get('device', data.get('id'))}"
            if "error" in data:
                text += f": {data['error']}"
            if "action" in data:
                text += f": {data['operation']} {data['action']}"
            shown.append(text)
        return shown

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a command; the round of the main loop passes that does before it is answered."""
        value = super().run(work)
        self.clock.iterate()
        while self.clock.nested and not self.clock.idle:
            self.clock.iterate()
        return value

    def settled(self) -> list[str]:
        """Events since the last call, after all that needs no time."""
        self.clock.settle()
        return self.seen()
