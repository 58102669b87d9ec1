"""The qcow2 block driver: what a node asks, answered by the parts of this package."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.sizes import INT_MAX
from qmpd.block.change.opening import open_node
from qmpd.block.drivers.formats.qcow2 import info
from qmpd.block.drivers.formats.qcow2.backing import (
    absolute_filename,
    full_backing_filename,
    open_backing,
)
from qmpd.block.drivers.formats.qcow2.bitmaps import bitmaps
from qmpd.block.drivers.formats.qcow2.bitmaps.reopen import reopen_bitmaps_ro, reopen_bitmaps_rw
from qmpd.block.drivers.formats.qcow2.bitmaps.store import store_bitmaps
from qmpd.block.drivers.formats.qcow2.clusters.empty import make_empty
from qmpd.block.drivers.formats.qcow2.clusters.mapping import get_host_offset, without_table
from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.resize import detect_metadata_preallocation, truncate
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters, write_compressed
from qmpd.block.drivers.formats.qcow2.clusters.zero import discard, write_zeroes
from qmpd.block.drivers.formats.qcow2.creation import create as creation
from qmpd.block.drivers.formats.qcow2.creation.options import CreateOptions, check_create_options
from qmpd.block.drivers.formats.qcow2.header.layout import INCOMPAT_DIRTY
from qmpd.block.drivers.formats.qcow2.opening import open_image, set_options, update_options
from qmpd.block.drivers.formats.qcow2.options import read_options
from qmpd.block.drivers.formats.qcow2.snapshots import snapshots
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.drivers.formats.qcow2.tables.entries import HAS_OFFSET, READS_AS_ZERO, UNALLOCATED
from qmpd.block.io.backend import BlockBackend
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.filename import filename
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import ALL, NOTHING, RESIZE, WRITE
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.loop.clock import NANOSECONDS

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node

log = logging.getLogger("qmpd.block.qcow2")


class Qcow2(BlockDriver):
    """A qcow2 image in the `file` child (and a `data-file`), over a `backing` child.

    :param state: the open image
    """

    format_name = "qcow2"
    shape = Shape(
        file_child=True,
        mutable_options=(
            *("lazy-refcounts", "pass-discard-request", "pass-discard-snapshot"),
            *("pass-discard-other", "discard-no-unref", "overlap-check", "cache-size"),
            *(
                "l2-cache-size",
                "l2-cache-entry-size",
                "refcount-cache-size",
                "cache-clean-interval",
            ),
            "encrypt",
        ),
    )
    capabilities = Capabilities(
        write_zeroes=True,
        discard=True,
        backing=True,
        snapshots=True,
        creates_images=True,
        amend=True,
        reopen=True,
        info=True,
        zero_init=True,
        write_compressed=True,
    )

    def __init__(self, node: Node, state: Qcow2State, options: Mapping[str, Any]) -> None:
        super().__init__(node)
        self.state = self.layer = state
        self._options = options
        self.auto_backing_file = info.text(state.header.backing_file or b"")

    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        """Open the image.

        :raises QmpError: QEMU's texts
        """
        state = await open_image(node, options, unmap=node.unmap, load=node.active)
        node.length = state.size
        return cls(node, state, options)

    async def close(self) -> None:
        """Store the bitmaps and write out the metadata, as far as that is possible."""
        s = self.state
        if s.unusable or not self.node.active:
            return
        if not s.writable:
            await self._store(release=True)
            return
        clean = await self._store(release=True)
        for cache, what in ((s.l2_cache, "L2 table"), (s.refcount_cache, "refcount block")):
            try:
                await cache.flush()
            except BlockIOError as error:
                clean = False
                log.error("Failed to flush the %s cache: %s", what, error.desc)
        if clean:
            try:
                await s.mark_clean()
            except BlockIOError as error:
                log.error("The image could not be marked clean: %s", error.desc)

    async def _store(self, *, release: bool) -> bool:
        try:
            await store_bitmaps(self.state, release=release)
        except QmpError as error:
            name = self.node.device_or_node_name
            log.error(
                "Lost persistent bitmaps during inactivation of node '%s': %s", name, error.desc
            )
            return False
        return True

    # Data

    def get_length(self) -> int:
        """See `BlockDriver.get_length`."""
        return self.state.size

    async def pread(self, offset: int, length: int) -> bytes:
        """See `BlockDriver.pread`."""
        self.state.check_usable()
        return await read_clusters(self.state, offset, length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """See `BlockDriver.pwrite`."""
        self.state.check_usable()
        await write_clusters(self.state, offset, data)
        if fua:
            await self.node.flush()

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """By zero clusters where the version has them; any range."""
        self.state.check_usable()
        await write_zeroes(self.state, offset, length, may_unmap=may_unmap)

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """See `write_compressed`."""
        self.state.check_usable()
        await write_compressed(self.state, offset, data)

    def zeroes_without_fallback(self) -> bool:
        """See `BlockDriver.zeroes_without_fallback`: version 2 has no zero clusters."""
        return self.state.header.version >= 3

    def zeroes_may_unmap(self) -> bool:
        """See `BlockDriver.zeroes_may_unmap`."""
        return self.state.header.version >= 3

    def subcluster_size(self) -> int | None:
        """See `BlockDriver.subcluster_size`."""
        return self.state.geometry.subcluster_size

    async def pdiscard(self, offset: int, length: int) -> None:
        """Whole clusters; any range."""
        self.state.check_usable()
        await discard(self.state, offset, length)

    async def make_empty(self) -> None:
        """See `BlockDriver.make_empty`."""
        self.state.check_usable()
        await make_empty(self.state)

    async def flush(self) -> None:
        """Write the metadata that is only in the caches."""
        s = self.state
        s.check_usable()
        if s.writable:
            async with s.lock:
                await s.write_caches()

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """Where an area is; data of images with preallocated metadata may be holes of the file."""
        s = self.state
        s.check_usable()
        async with s.lock:
            if s.metadata_preallocation is None:
                allocated = s.file.driver.allocated_size()
                s.metadata_preallocation = allocated is not None and (
                    await detect_metadata_preallocation(s, allocated)
                )
            count = without_table(s, offset, min(length, INT_MAX))
            if count:
                zero = s.backing is None or offset >= s.backing.length
                return BlockStatus(count, data=False, zero=zero, allocated=False)
            kind, host, count = await get_host_offset(s, offset, min(length, INT_MAX))
        zero = kind in READS_AS_ZERO
        data = not zero and kind not in UNALLOCATED
        placed = kind in HAS_OFFSET
        allocated_here = zero or data
        if kind in UNALLOCATED:
            zero = s.backing is None or offset >= s.backing.length
        elif data and placed and s.metadata_preallocation:
            below = await s.data_file.block_status(host, count)
            if below.length:
                count, zero = min(count, below.length), below.zero
            else:
                zero = True
        return BlockStatus(
            count,
            data=data,
            zero=zero,
            allocated=allocated_here,
            offset=host if placed else None,
            file=s.data_file if placed else None,
        )

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the virtual size; what is added hides a longer backing file."""
        s = self.state
        s.check_usable()
        zero = s.backing is not None and size > s.size and s.backing.length > s.size
        await truncate(s, size, exact=exact, prealloc=prealloc, zero=zero)
        # The caches' sizes follow from the disk's.
        async with s.lock:
            await update_options(s, self._options, unmap=self.node.unmap)

    # What it tells

    def cluster_size(self) -> int | None:
        """See `BlockDriver.cluster_size`."""
        return self.state.geometry.cluster_size

    def vm_state_offset(self) -> int:
        """See `BlockDriver.vm_state_offset`."""
        return self.state.vm_state_offset

    async def info_members(self) -> dict[str, Any]:
        """Members of ImageInfo that only this driver knows."""
        s = self.state
        members: dict[str, Any] = {
            "cluster-size": s.geometry.cluster_size,
            "dirty-flag": bool(s.header.incompatible & INCOMPAT_DIRTY),
            "format-specific": await info.specific_info(s),
        }
        return members | self._backing_members()

    def _backing_members(self) -> dict[str, Any]:
        """The backing file that the header names, whatever the `backing` child is."""
        s = self.state
        if not s.header.backing_file:
            return {}
        members = {"backing-filename": info.text(s.header.backing_file)}
        try:
            members["full-backing-filename"] = full_backing_filename(s)
        except QmpError as error:
            log.debug("%s", error.desc)
        if s.header.backing_format:
            members["backing-filename-format"] = info.text(s.header.backing_format)
        return members

    # Bitmaps, snapshots, the header

    def check_can_store_bitmap(self, name: str, granularity: int) -> None:
        """See `BlockDriver.check_can_store_bitmap`."""
        bitmaps.check_can_store(self.state, name, granularity)

    async def remove_persistent_bitmap(self, name: str) -> None:
        """See `BlockDriver.remove_persistent_bitmap`."""
        await bitmaps.remove_bitmap(self.state, name)

    async def reopen_prepare(self, state: ReopenState) -> None:
        """See `BlockDriver.reopen_prepare`: bitmaps are stored before the image is read-only."""
        s = self.state
        flags = state.flags
        state.data = read_options(state.options, s.header, s.geometry, s.size, unmap=flags.unmap)
        for cache in (s.l2_cache, s.refcount_cache):
            await cache.flush()
        if s.options.lazy_refcounts and not state.data.lazy_refcounts and s.writable:
            await s.mark_clean()
        if flags.read_only and not self.node.read_only:
            await reopen_bitmaps_ro(s)
            await self.node.flush()
            await s.mark_clean()
            await self.node.flush()

    async def reopen_commit(self, state: ReopenState) -> None:
        """Take the new options; bitmaps are marked in-use again.

        The caches are always new (`qcow2_update_options_commit`): `file` may be another node,
        with other tables where the old one had its own.
        """
        s = self.state
        self._options = state.options
        set_options(s, state.data)
        if state.before.read_only and not self.node.read_only:
            try:
                await reopen_bitmaps_rw(s)
            except QmpError as error:
                # Not fatal: the bitmaps stay read-only, and so writes fail.
                log.error(
                    "%s: Failed to make dirty bitmaps writable: %s",
                    self.node.node_name,
                    error.desc,
                )

    async def inactivate(self) -> None:
        """See `BlockDriver.inactivate`."""
        await self.close()
        await self.node.flush()

    async def activate(self) -> None:
        """See `BlockDriver.activate`: everything is read anew."""
        self.state = await open_image(self.node, self._options, unmap=self.node.unmap)
        self.layer = self.state

    @property
    def named_backing_file(self) -> str:
        """See `BlockDriver.named_backing_file`."""
        return info.text(self.state.header.backing_file or b"")

    def absolute_filename(self, name: str) -> str:
        """See `BlockDriver.absolute_filename`."""
        return absolute_filename(self.state, name)

    async def open_backing(self, options: Mapping[str, Any]) -> None:
        """See `BlockDriver.open_backing`."""
        await open_backing(self.state, options)
        if self.node.backing is not None:
            self.node.refresh_limits()

    async def change_backing_file(self, name: str | None, backing_format: str | None) -> None:
        """Write another backing file name and format into the header.

        :raises BlockIOError: EINVAL or ENOSPC
        """
        s = self.state
        s.check_usable()
        await creation.change_backing_file(s, name, backing_format)
        self.auto_backing_file = name or ""

    def is_disk_only(self, name: str) -> bool:
        """See `BlockDriver.is_disk_only`: of those found in the image nobody can tell."""
        found = snapshots.find_snapshot(self.state, None, name)
        return found is not None and found.disk_only

    async def snapshot_create(
        self, name: str, date: int, vm_clock: int, *, disk_only: bool = True
    ) -> str:
        """See `BlockDriver.snapshot_create`."""
        self.state.check_usable()
        made = await snapshots.snapshot_create(
            self.state,
            name,
            date_sec=date // NANOSECONDS,
            date_nsec=date % NANOSECONDS,
            vm_clock_nsec=vm_clock,
            disk_only=disk_only,
        )
        return info.text(made.id)

    async def snapshot_delete(self, ident: str | None, name: str | None) -> dict[str, Any]:
        """See `BlockDriver.snapshot_delete`."""
        self.state.check_usable()
        return info.snapshot_info(await snapshots.snapshot_delete(self.state, ident, name))

    async def snapshot_goto(self, ident: str) -> None:
        """See `BlockDriver.snapshot_goto`."""
        self.state.check_usable()
        await snapshots.snapshot_goto(self.state, ident)
        self.node.refresh_length()

    def snapshot_list(self) -> list[dict[str, Any]]:
        """See `BlockDriver.snapshot_list`."""
        return [info.snapshot_info(snapshot) for snapshot in self.state.snapshots]

    # Creating

    @classmethod
    def creation_line(
        cls, name: str, size: int, backing_file: str | None, backing_format: str | None
    ) -> str:
        """See `BlockDriver.creation_line`."""
        named = None if backing_file is None else backing_file.replace(",", ",,")
        backing = "" if named is None else f" backing_file={named}"
        if backing_format is not None:
            backing += f" backing_fmt={backing_format}"
        return (
            f"Formatting '{name}', fmt=qcow2 cluster_size=65536 extended_l2=off"
            f" compression_type=zlib size={size}{backing} lazy_refcounts=off refcount_bits=16\n"
        )

    async def amend(self, options: Mapping[str, Any]) -> None:
        """See `BlockDriver.amend`: there is only encryption to change."""
        if "encrypt" in options:
            raise GenericError("image is not encrypted, can't amend")

    @classmethod
    def check_create(cls, options: Mapping[str, Any]) -> None:
        """See `BlockDriver.check_create`."""

    @classmethod
    async def create(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        """Make an image in the `file` node.

        :param options: BlockdevCreateOptionsQcow2
        :raises QmpError: QEMU's texts
        """
        file = await _hold(graph, options["file"])
        data_file: BlockBackend | None = None
        try:
            checked = check_create_options(options)
            if checked.has_data_file:
                data_file = await _hold(graph, options["data-file"])
            await cls._format(file, data_file, checked)
        finally:
            await file.close()
            if data_file is not None:
                await data_file.close()

    @classmethod
    async def _format(
        cls, file: BlockBackend, data_file: BlockBackend | None, checked: CreateOptions
    ) -> None:
        graph = file.graph
        assert file.node is not None
        file.require(WRITE | RESIZE)
        await creation.write_first_clusters(file.node, checked)
        file.set_permissions(NOTHING, ALL)
        options: dict[str, Any] = {"driver": "qcow2", "file": file.node.node_name}
        name = None
        if data_file is not None and data_file.node is not None:
            options["data-file"] = data_file.node.node_name
            name = filename(data_file.node)
        image = await _hold(graph, {**options, "cache": {"no-flush": True}})
        try:
            assert image.node is not None
            assert isinstance(image.node.driver, cls)
            await creation.complete_image(image.node.driver.state, checked, name)
        finally:
            await image.close()
        # Once more, to flush what was written without.
        await (await _hold(graph, {**options, "backing": None})).close()


async def _hold(graph: Graph, reference: str | Mapping[str, Any]) -> BlockBackend:
    """The node that a BlockdevRef names or defines, held until the backend is closed."""
    if isinstance(reference, str):
        return await BlockBackend.on(graph.lookup_device_or_node(reference, reference))
    return await BlockBackend.on(await open_node(graph, reference))
