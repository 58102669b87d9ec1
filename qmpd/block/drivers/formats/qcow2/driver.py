"""The qcow2 block driver: implements `BlockDriver` with the parts of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.drivers.formats.qcow2 import info
from qmpd.block.drivers.formats.qcow2.backing import (
    absolute_filename,
    backing_members,
    open_backing,
)
from qmpd.block.drivers.formats.qcow2.bitmaps import bitmaps
from qmpd.block.drivers.formats.qcow2.bitmaps.reopen import reopen_bitmaps_ro, reopen_bitmaps_rw
from qmpd.block.drivers.formats.qcow2.closing import write_back
from qmpd.block.drivers.formats.qcow2.clusters.empty import make_empty
from qmpd.block.drivers.formats.qcow2.clusters.read import read_clusters
from qmpd.block.drivers.formats.qcow2.clusters.resize import truncate
from qmpd.block.drivers.formats.qcow2.clusters.status import image_status
from qmpd.block.drivers.formats.qcow2.clusters.status_map import image_map
from qmpd.block.drivers.formats.qcow2.clusters.write import write_clusters, write_compressed
from qmpd.block.drivers.formats.qcow2.clusters.zero import discard, write_zeroes
from qmpd.block.drivers.formats.qcow2.creation.create import change_backing_file
from qmpd.block.drivers.formats.qcow2.creation.image import create_image, creation_line
from qmpd.block.drivers.formats.qcow2.flat import take_options
from qmpd.block.drivers.formats.qcow2.header.layout import INCOMPAT_DIRTY
from qmpd.block.drivers.formats.qcow2.opening import open_image, set_options, update_options
from qmpd.block.drivers.formats.qcow2.options import read_options
from qmpd.block.drivers.formats.qcow2.snapshots import snapshots
from qmpd.block.drivers.formats.qcow2.state import Qcow2State
from qmpd.block.model.data import BlockStatus, Piece
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.families import Amendable, ImageCreator, Snapshots
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.errors import GenericError, QmpError
from qmpd.loop.clock import NANOSECONDS

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.block.model.status_map import StatusMap


class Qcow2(BlockDriver, Snapshots, ImageCreator, Amendable):
    """A qcow2 image in the `file` child (and a `data-file`), over a `backing` child.

    :param state: the open image
    """

    format_name = "qcow2"
    has_cluster_size = True
    shape = Shape(
        is_format=True,
        file_child=True,
        options_last=True,
        mutable_options=(
            *("lazy-refcounts", "pass-discard-request", "pass-discard-snapshot"),
            *("pass-discard-other", "discard-no-unref", "overlap-check", "cache-size"),
            *("l2-cache-size", "l2-cache-entry-size", "refcount-cache-size"),
            *("cache-clean-interval", "encrypt"),
        ),
    )
    capabilities = Capabilities(
        write_zeroes=True,
        discard=True,
        backing=True,
        creates_images=True,
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

    @property
    @override
    def gone(self) -> bool:
        return self.state.unusable

    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        """Open the image.

        :raises QmpError: with QEMU's text
        """
        state = await open_image(node, options, unmap=node.unmap, load=node.active)
        node.length = state.size
        return cls(node, state, options)

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        return take_options(flat)

    async def close(self) -> None:
        """Store the bitmaps and write the metadata back; errors are only logged (qcow2_close)."""
        self.state.closing = True
        await write_back(self.state)
        self.state.forget_tables()

    # Data

    @override
    def get_length(self) -> int:
        return self.state.size

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        self.state.check_usable()
        return await read_clusters(self.state, offset, length)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        self.state.check_usable()
        await write_clusters(self.state, offset, data)
        if fua:
            await self.node.flush()

    @override
    def data_node(self) -> Node | None:
        s = self.state
        files = (s.data_file, self.node.children["file"].node)
        if s.unusable or s.held is not None:
            return None
        return None if any(f.driver.capabilities.hears_events for f in files) else files[0]

    @override
    async def pwrite_piece(self, offset: int, data: Piece) -> None:
        self.state.check_usable()
        await write_clusters(self.state, offset, data)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Use zero clusters if the version has them; the range need not be aligned."""
        self.state.check_usable()
        await write_zeroes(self.state, offset, length, may_unmap=may_unmap)

    @override
    async def zero_fast(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        self.state.check_usable()
        await write_zeroes(self.state, offset, length, may_unmap=may_unmap, as_data=False)

    @override
    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        self.state.check_usable()
        await write_compressed(self.state, offset, data)

    @override
    def zeroes_without_fallback(self) -> bool:
        """Version 2 has no zero clusters."""
        return self.state.header.version >= 3

    @override
    def zeroes_may_unmap(self) -> bool:
        return self.state.header.version >= 3

    @override
    def subcluster_size(self) -> int | None:
        return self.state.geometry.subcluster_size

    async def pdiscard(self, offset: int, length: int) -> None:
        """Discard the whole clusters in any range."""
        self.state.check_usable()
        await discard(self.state, offset, length)

    @override
    async def make_empty(self) -> None:
        self.state.check_usable()
        await make_empty(self.state)

    async def flush(self) -> None:
        """Write cached metadata."""
        s = self.state
        s.check_usable()
        if s.writable:
            async with s.lock:
                await s.write_caches()

    @override
    async def block_status(self, offset: int, length: int) -> BlockStatus:
        self.state.check_usable()
        return await image_status(self.state, offset, length)

    @override
    async def status_map(self, offset: int, length: int) -> StatusMap | None:
        return await image_map(self.state, offset, length)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the virtual size; the added area hides the data of a longer backing file."""
        s = self.state
        s.check_usable()
        zero = s.backing is not None and size > s.size and s.backing.length > s.size
        try:
            await truncate(s, size, exact=exact, prealloc=prealloc, zero=zero)
            # The caches' sizes follow from the disk's.
            async with s.lock:
                await update_options(s, self._options, unmap=self.node.unmap)
        finally:
            self.node.length = s.size

    # What it tells

    @override
    def cluster_size(self) -> int | None:
        return self.state.geometry.cluster_size

    @override
    def vm_state_offset(self) -> int:
        return self.state.vm_state_offset

    async def info_members(self) -> dict[str, Any]:
        """Members of ImageInfo that are specific to the image."""
        s = self.state
        members: dict[str, Any] = {
            "cluster-size": s.geometry.cluster_size,
            "dirty-flag": bool(s.header.incompatible & INCOMPAT_DIRTY),
            "format-specific": await info.specific_info(s),
        }
        return members | backing_members(s)

    # Bitmaps, snapshots, the header

    @override
    def check_can_store_bitmap(self, name: str, granularity: int) -> None:
        if self.gone:
            name = self.node.device_or_node_name
            raise GenericError(f"Can't store persistent bitmaps to {name}: No medium found")
        bitmaps.check_can_store(self.state, name, granularity)

    @override
    async def remove_persistent_bitmap(self, name: str) -> None:
        if not self.gone:
            await bitmaps.remove_bitmap(self.state, name)

    @override
    async def reopen_prepare(self, state: ReopenState) -> None:
        """Check the options, and store the bitmaps before the image becomes read-only."""
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

    @override
    async def reopen_commit(self, state: ReopenState) -> None:
        """Take the options over; in an image that became writable, mark the bitmaps in-use.

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
                what = "Failed to make dirty bitmaps writable"
                self.node.services.say.report(f"{self.node.node_name}: {what}: {error.desc}")

    @override
    async def inactivate(self) -> None:
        await write_back(self.state)
        await self.node.flush()

    @override
    async def activate(self) -> None:
        """Read the image again: another process may have changed it."""
        self.state = await open_image(self.node, self._options, unmap=self.node.unmap)
        self.layer = self.state

    @override
    @property
    def named_backing_file(self) -> str:
        return info.text(self.state.header.backing_file or b"")

    @override
    def absolute_filename(self, name: str) -> str:
        return absolute_filename(self.state, name)

    @override
    async def open_backing(self, options: Mapping[str, Any]) -> None:
        await open_backing(self.state, options)
        if self.node.backing is not None:
            self.node.refresh_limits()

    async def change_backing_file(self, name: str | None, backing_format: str | None) -> None:
        """Write another backing file name and format into the header.

        :raises BlockIOError: EINVAL or ENOSPC
        """
        s = self.state
        s.check_usable()
        await change_backing_file(s, name, backing_format)
        self.auto_backing_file = name or ""

    @override
    def is_disk_only(self, name: str) -> bool:
        """Known only of snapshots taken since the image was opened: the image does not tell."""
        found = snapshots.find_snapshot(self.state, None, name)
        return found is not None and found.disk_only

    @override
    async def snapshot_create(
        self, name: str, date: int, vm_clock: int, *, disk_only: bool = True, vm_state: bytes = b""
    ) -> str:
        self.state.check_usable()
        if vm_state:
            await write_clusters(self.state, self.state.vm_state_offset, vm_state)
        made = await snapshots.snapshot_create(
            self.state,
            name,
            date_sec=date // NANOSECONDS,
            date_nsec=date % NANOSECONDS,
            vm_clock_nsec=vm_clock,
            vm_state_size=len(vm_state),
            disk_only=disk_only,
        )
        return info.text(made.id)

    @override
    async def snapshot_delete(self, ident: str | None, name: str | None) -> dict[str, Any]:
        self.state.check_usable()
        return info.snapshot_info(await snapshots.snapshot_delete(self.state, ident, name))

    @override
    async def snapshot_goto(self, ident: str) -> None:
        self.state.check_usable()
        await snapshots.snapshot_goto(self.state, ident)
        self.node.refresh_length()

    @property
    @override
    def lists_snapshots(self) -> bool:
        return not self.state.has_data_file

    @override
    def snapshot_list(self) -> list[dict[str, Any]]:
        return [info.snapshot_info(snapshot) for snapshot in self.state.snapshots]

    # Creating

    @override
    @classmethod
    def creation_line(
        cls, name: str, size: int, backing_file: str | None, backing_format: str | None
    ) -> str:
        return creation_line(name, size, backing_file, backing_format)

    @override
    async def amend(self, options: Mapping[str, Any]) -> None:
        """Only encryption could be changed, which these images do not have."""
        if "encrypt" in options:
            raise GenericError("image is not encrypted, can't amend")

    @override
    @classmethod
    async def create(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        """Make an image in the `file` node.

        :param options: BlockdevCreateOptionsQcow2
        :raises QmpError: with QEMU's text
        """
        await create_image(graph, options)
