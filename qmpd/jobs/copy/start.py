"""Starting a backup: the checks of backup_job_create, in its order, and the filter."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from qmpd.base.sizes import INT_MAX
from qmpd.block.bits.rules import check, find
from qmpd.block.bits.successor import create_successor, reclaim
from qmpd.block.change.closing import release
from qmpd.block.change.drain import drained_begin, drained_end
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.insert import insert_filter, insert_node
from qmpd.block.drivers.filters.backup_top import BackupTop
from qmpd.block.drivers.filters.copy_before_write import CopyBeforeWrite
from qmpd.block.io.progress import ProgressMeter
from qmpd.block.model.blockers import Op
from qmpd.block.permission_bits import ALL, NOTHING
from qmpd.errors import GenericError, QmpError
from qmpd.jobs.copy.backup import NEVER, BackupJob, BackupPlan, drop_backup_filter
from qmpd.jobs.copy.by_clusters import BackupByClusters
from qmpd.jobs.core.states import OnError

if TYPE_CHECKING:
    from qmpd.block.bits.bitmap import DirtyBitmap
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.job_txn import JobTxn
    from qmpd.jobs.core.options import JobOptions
    from qmpd.jobs.core.protocols import Listing


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """The arguments of a backup (QAPI's BackupCommon)."""

    job: JobOptions
    sync: str
    bitmap: str | None = None
    bitmap_mode: str | None = None
    compress: bool = False
    on_source_error: OnError = OnError.REPORT
    on_target_error: OnError = OnError.REPORT
    discard_source: bool = False
    max_workers: int = 64
    max_chunk: int = 0
    min_cluster_size: int = 0
    on_cbw_error: str | None = None


async def create_backup(
    jobs: Listing,
    source: Node,
    target: Node,
    options: BackupOptions,
    *,
    txn: JobTxn | None = None,
) -> BackupJob:
    """Create a backup job without starting it; the source must be drained.

    :param txn: the jobs it completes together with
    :raises QmpError: with QEMU's text; nothing has changed then
    """
    bitmap, sync, mode = _check_bitmap(source, options)
    _check_nodes(source, target, options)
    if bitmap is not None:
        if mode != NEVER:
            check(bitmap, "backup")
        create_successor(source, bitmap)
    try:
        if source.length != target.length:
            raise GenericError("Source and target image have different sizes")
        plan = _plan(options, bitmap, sync, mode)
        insert = _insert_filter
        if source.services.manners.backups_use_backup_top:
            insert = _insert_backup_top
        top = await insert(source, target, options)
        return await _create(jobs, top, source, target, options, plan, txn)
    except BaseException:
        if bitmap is not None:
            reclaim(source, bitmap)
        raise


def _plan(options: BackupOptions, bitmap: DirtyBitmap | None, sync: str, mode: str) -> BackupPlan:
    return BackupPlan(
        sync,
        bitmap,
        mode,
        options.compress,
        options.max_chunk,
        options.max_workers,
        options.on_source_error,
        options.on_target_error,
    )


def _check_bitmap(source: Node, options: BackupOptions) -> tuple[DirtyBitmap | None, str, str]:
    """Check the bitmap arguments; returns bitmap, bitmap mode and the resulting sync mode."""
    sync, mode, name = options.sync, options.bitmap_mode, options.bitmap
    if sync in ("bitmap", "incremental") and name is None:
        raise GenericError(f"must provide a valid bitmap name for '{sync}' sync mode")
    if sync == "incremental":
        if mode not in (None, "on-success"):
            raise GenericError(
                f"Bitmap sync mode must be 'on-success' when using sync mode '{sync}'"
            )
        sync, mode = "bitmap", "on-success"
    if name is None:
        if mode is not None:
            raise GenericError("Cannot specify bitmap sync mode without a bitmap")
        return None, sync, NEVER
    bitmap = find(source, name)
    if bitmap is None:
        raise GenericError(f"Bitmap '{name}' could not be found")
    if mode is None:
        raise GenericError("Bitmap sync mode must be given when providing a bitmap")
    check(bitmap, "backup-never")
    if sync == "none":
        raise GenericError(f"sync mode '{sync}' does not produce meaningful bitmap outputs")
    if mode == NEVER and sync != "bitmap":
        raise GenericError(
            f"Bitmap sync mode '{mode}' has no meaningful effect when combined with sync mode"
            f" '{sync}'"
        )
    return bitmap, sync, mode


def _check_nodes(source: Node, target: Node, options: BackupOptions) -> None:
    if source is target:
        raise GenericError("Source and target cannot be the same")
    for node in (source, target):
        if not node.is_inserted:
            raise GenericError(f"Device is not inserted: {node.device_or_node_name}")
    if options.compress and not target.driver.can_write_compressed():
        raise GenericError(f"Compression is not supported for this drive {target.device_name}")
    source.check_operation(Op.BACKUP_SOURCE)
    target.check_operation(Op.BACKUP_TARGET)
    if not 1 <= options.max_workers <= INT_MAX:
        raise GenericError(f"max-workers must be between 1 and {INT_MAX}")
    if options.max_chunk < 0:
        raise GenericError("max-chunk must be zero (which means no limit) or positive")


async def _create(
    jobs: Listing,
    top: Node,
    source: Node,
    target: Node,
    options: BackupOptions,
    plan: BackupPlan,
    txn: JobTxn | None,
) -> BackupJob:
    kind = BackupByClusters if jobs.manners.backups_go_by_clusters else BackupJob
    top.hold()
    try:
        assert isinstance(top.driver, CopyBeforeWrite | BackupTop)
        cluster = top.driver.copy.cluster_size
        if options.max_chunk and options.max_chunk < cluster:
            raise GenericError(
                f"Required max-chunk ({options.max_chunk}) is less than backup cluster size"
                f" ({cluster})"
            )
        job = await kind.create(jobs, top, source, options.job, plan, txn=txn)
        try:
            async with write_lock(source.graph):
                job.add_node("target", target, NOTHING, ALL)
        except BaseException:
            await job.fail_creation()
            raise
    except BaseException:
        await drop_backup_filter(top)
        await release(top)
        raise
    top.unhold()
    return job


async def _insert_backup_top(source: Node, target: Node, options: BackupOptions) -> Node:
    """Open the filter backup-top and insert it above the source (bdrv_backup_top_append)."""
    name = options.job.filter_node_name
    given = {"driver": "backup-top"} | ({} if name is None else {"node-name": name})
    opener = partial(BackupTop.open_for_job, target=target)
    await drained_begin(source)
    try:
        objection = "Cannot append backup-top filter: "
        top = await insert_filter(source, given, opener, objection=objection)
        assert isinstance(top.driver, BackupTop)
        try:
            top.driver.begin(ProgressMeter(), compress=options.compress)
        except QmpError as error:
            top.hold()
            await top.driver.drop()
            await release(top)
            raise error.prefixed("Cannot set permissions for backup-top filter: ") from None
    finally:
        drained_end(source)
    return top


async def _insert_filter(source: Node, target: Node, options: BackupOptions) -> Node:
    """Open the filter and insert it above the source (bdrv_cbw_append)."""
    given: dict[str, object] = {
        "driver": "copy-before-write",
        "file": source.node_name,
        "target": target.node_name,
        "discard-source": options.discard_source,
        "min-cluster-size": options.min_cluster_size,
    }
    if options.on_cbw_error is not None:
        given["on-cbw-error"] = options.on_cbw_error
    if options.job.filter_node_name is not None:
        given["node-name"] = options.job.filter_node_name
    opener = partial(
        CopyBeforeWrite.open_for_job, compress=options.compress, progress=ProgressMeter()
    )
    return await insert_node(source, given, opener)
