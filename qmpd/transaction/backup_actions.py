"""The actions that start backups."""

from __future__ import annotations

from typing import Any

from qmpd.base.override import override
from qmpd.block.change.aio_context import try_change
from qmpd.block.change.closing import release
from qmpd.block.change.create_image import create_image, open_image
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.insert import change_backing
from qmpd.block.model.blockers import Op
from qmpd.block.model.filename import filename
from qmpd.block.model.node import Node
from qmpd.errors import GenericError
from qmpd.jobs.copy.backup import BackupJob
from qmpd.jobs.copy.start import BackupOptions, create_backup
from qmpd.jobs.core.options import JobOptions
from qmpd.jobs.core.states import OnError
from qmpd.transaction.core import Action


def _options(data: Any, sync: str) -> BackupOptions:
    perf = data.x_perf
    return BackupOptions(
        JobOptions.read(data),
        sync,
        data.bitmap,
        data.bitmap_mode,
        bool(data.compress),
        OnError(data.on_source_error or "report"),
        OnError(data.on_target_error or "report"),
        bool(data.discard_source),
        *(_perf(perf, "max_workers", 64), _perf(perf, "max_chunk", 0)),
        _perf(perf, "min_cluster_size", 0),
        data.on_cbw_error,
    )


def _perf(perf: Any, name: str, default: int) -> int:
    value = None if perf is None else getattr(perf, name)
    return default if value is None else value


class _Backup(Action):
    """blockdev-backup and drive-backup."""

    groupable = True
    _source: Node | None = None
    _job: BackupJob | None = None

    async def drain(self, source: Node) -> None:
        """Drain the source until the action is over."""
        await drained_begin(source)
        source.hold()
        self._source = source

    async def create(self, source: Node, target: Node, sync: str) -> None:
        """Create the job."""
        self._job = await create_backup(
            self.jobs, source, target, _options(self.data, sync), txn=self.job_txn
        )

    @override
    async def commit(self) -> None:
        assert self._job is not None
        self._job.start()

    @override
    async def abort(self) -> None:
        if self._job is not None:
            await self._job.cancel_and_wait()

    @override
    async def clean(self) -> None:
        if self._source is not None:
            drained_end(self._source)
            await release(self._source)


class Backup(_Backup):
    """blockdev-backup."""

    @override
    async def prepare(self) -> None:
        source = self.graph.lookup(self.data.device)
        target = self.graph.lookup(self.data.target)
        await try_change(target, source.aio_context)
        await self.drain(source)
        await self.create(source, target, self.data.sync)


class DriveBackup(_Backup):
    """drive-backup: creates or opens the target, which is closed with the job."""

    @override
    async def prepare(self) -> None:
        data = self.data
        source = self.graph.lookup(data.device)
        if not source.is_inserted:
            raise GenericError("Device has no medium")
        await self.drain(source)
        existing = data.mode == "existing"
        image_format = data.format
        if image_format is None and not existing:
            image_format = source.driver.format_name
        source.check_operation(Op.BACKUP_SOURCE)
        sync, below = data.sync, None
        if sync == "top":
            below = source.skip_filters().backing
            if below is None:
                sync = "full"
        elif sync == "none":
            below = source
        if not existing:
            shown = None if below is None else below.skip_implicit_filters()
            await create_image(
                self.graph,
                data.target,
                image_format,
                source.length,
                backing_file=None if shown is None else filename(shown),
                backing_format=None if shown is None else shown.driver.format_name,
                looks_at_backing=sync != "none",
            )
        target = await open_image(
            self.graph,
            data.target,
            image_format,
            like=source,
            backing=sync != "none",
            more={"discard": "unmap", "detect-zeroes": "unmap"},
        )
        try:
            await try_change(target, source.aio_context)
            if sync == "none":
                await change_backing(target, source)
            await self.create(source, target, sync)
        finally:
            await release(target)
