"""What a node expects of its driver (QEMU's BlockDriver): one instance serves one node.

The methods here describe a driver without any optional feature.  Drivers themselves derive from
`qmpd.block.model.driver.BlockDriver`, which knows what a node is.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from qmpd.block.model.data import BlockStatus, Bytes, Piece
from qmpd.block.model.limits import Alignments
from qmpd.block.model.table import Named
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import IMAGE, Perm, Permissions, Role
from qmpd.errors import BlockIOError, GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.layer import Layer
    from qmpd.block.model.limits import BlockLimits
    from qmpd.block.model.status_map import StatusMap

NodeT = TypeVar("NodeT", bound=Named)


class DriverInterface(Generic[NodeT]):
    """A driver, as seen from its node."""

    format_name: ClassVar[str]
    shape: ClassVar[Shape] = Shape()
    capabilities: ClassVar[Capabilities] = Capabilities()
    runtime_options: ClassVar[Mapping[str, Kind]] = {}
    """Its own options, as ``-drive`` has them, and how each is read."""

    auto_backing_file = ""
    """Name of the backing file that the image itself leads to, as it was opened."""

    layer: Layer | None = None
    """The open image, where the driver has backing files and can be read through in a loop."""

    def __init__(self, node: NodeT) -> None:
        self.node = node

    @property
    def gone(self) -> bool:
        """Whether the image has been given up: the node has no medium from then on."""
        return False

    @classmethod
    async def open(cls, node: NodeT, options: Mapping[str, Any]) -> Self:
        """Open the driver for `node`, whose `file` child is there already.

        :param options: the node's options as of BlockdevOptions, plain JSON values
        :raises QmpError: QEMU's text
        """
        return cls(node)

    @classmethod
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        """Read its own options as ``-drive`` has them, and take them out.

        :returns: as `open` expects them; its children, other than `file` and `backing`, are
            `ChildOptions`
        :raises GenericError: one is malformed
        """
        return flat.take(cls.runtime_options)

    @classmethod
    def parse_filename(cls, filename: str, flat: FlatOptions) -> None:
        """Make options of a file name that a node of this protocol is given.

        :raises GenericError: it is malformed
        """

    @classmethod
    def file_role(cls, options: Mapping[str, Any]) -> Role:
        """What the `file` child holds, asked before it is attached.

        :raises GenericError: an option that shapes it is malformed
        """
        return IMAGE

    @classmethod
    def child_permissions(cls, node: NodeT, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """What is asked of a child in `role` when the node's parents use `perm`, share `shared`.

        :returns: permissions used and shared
        """
        raise NotImplementedError

    def prepare_permissions(self, perm: Perm, shared: Perm) -> None:
        """The node's parents are about to use `perm` and share `shared`.

        `commit_permissions` or `abort_permissions` follows.

        :raises QmpError: that is not possible (somebody else holds the file)
        """

    def commit_permissions(self) -> None:
        """What was prepared last holds now."""

    def abort_permissions(self) -> None:
        """What was prepared last does not come."""

    async def close(self) -> None:
        """Give everything back; the children are released by the node."""

    def cut(self) -> None:
        """Let go of images at once: the process is killed, and what is under way reaches none."""

    def cancel_in_flight(self) -> None:
        """What is under way is not needed any more: it need not wait for a server to come back."""

    def limits(self) -> BlockLimits | None:
        """What it can take in one request; None for anything."""
        return None

    def alignments(self) -> Alignments | None:
        """What it wants to be aligned beyond that; None for nothing."""
        if self.shape.is_filter:
            return None
        cluster = self.cluster_size() if self.subcluster_size() else None
        return Alignments(cluster, 0) if cluster else None

    async def inactivate(self) -> None:
        """The node is given up to another process: nothing may be kept back.

        :raises QmpError: it cannot be
        """

    async def activate(self) -> None:
        """The node is taken back: what is known of the image may be out of date.

        :raises QmpError: it cannot be read
        """

    async def reopen_prepare(self, state: ReopenState) -> None:
        """Check and prepare other options; `reopen_commit` or `reopen_abort` follows.

        :raises QmpError: they cannot be
        """

    async def reopen_commit(self, state: ReopenState) -> None:
        """What was prepared holds now."""

    async def reopen_abort(self, state: ReopenState) -> None:
        """What was prepared does not come."""

    def can_replace(self, node: NodeT) -> bool | None:
        """Whether `node`, which this one shows, may be replaced by a copy of what this one shows.

        :returns: None for what holds of filters in general
        """
        return None

    def drained_begin(self) -> None:
        """The node is being drained: let requests that are held up go."""

    def drained_end(self) -> None:
        """The node is drained no longer."""

    def debug_event(self, event: str) -> None:
        """A driver above, or the node, has come to a point of interest (see blkdebug)."""

    # Requests that are answered at once: see `qmpd.block.model.plain`

    def passes_to(self) -> tuple[NodeT, int] | None:
        """The child that reads and writes get to as they are, and how far their offsets are moved.

        :returns: None where this driver has something else to do
        """
        return None

    def at_hand(self) -> Bytes | None:
        """The node's own bytes, where reads and writes of them need no waiting and no care."""
        return None

    def get_length(self) -> int:
        """Length in bytes."""
        raise NotImplementedError

    async def pread(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes.

        :raises BlockIOError: the read fails
        """
        raise NotImplementedError

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write `data`; with `fua` it is stable when this returns."""
        raise NotImplementedError

    def fixed_size(self) -> int | None:
        """The bytes of what cannot grow; None: writing behind the end makes it longer."""
        return None

    def data_node(self) -> NodeT | None:
        """Who has the data of a format, as it is and in whole clusters; None: no `pwrite_piece`."""
        return None

    async def pwrite_piece(self, offset: int, data: Piece) -> None:
        """Write whole clusters that are somewhere else until they are written."""
        raise BlockIOError(errno.ENOTSUP)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Make an area read as zeroes, perhaps by giving its space back.

        :raises BlockIOError: ENOTSUP to have the node write zeroes itself
        """
        raise BlockIOError(errno.ENOTSUP)

    async def zero_fast(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """As `pwrite_zeroes`, but for who has nothing of it where a write is as fast.

        :raises BlockIOError: ENOTSUP where it is
        """
        await self.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """Write `data` compressed."""
        raise BlockIOError(errno.ENOTSUP)

    async def pdiscard(self, offset: int, length: int) -> None:
        """Say that the area's contents are no longer needed."""
        raise BlockIOError(errno.ENOTSUP)

    async def make_empty(self) -> None:
        """Drop all that hides the backing file."""
        raise BlockIOError(errno.ENOTSUP)

    def can_write_compressed(self) -> bool:
        """Whether `pwrite_compressed` can be used on the node (bdrv_supports_compressed_writes)."""
        return self.capabilities.write_compressed

    def has_info(self) -> bool:
        """Whether QEMU's driver would answer ``bdrv_get_info``."""
        return self.capabilities.info

    def has_zero_init(self) -> bool:
        """Whether an image that was just made reads as zeroes (``bdrv_has_zero_init``)."""
        return self.capabilities.zero_init

    def zeroes_without_fallback(self) -> bool:
        """Whether `pwrite_zeroes` is always better than writing zeroes."""
        return False

    def zeroes_may_unmap(self) -> bool:
        """Whether `pwrite_zeroes` may give space back."""
        return False

    def subcluster_size(self) -> int | None:
        """Bytes of the smallest unit of allocation; None where the driver reports none."""
        return self.cluster_size()

    async def flush(self) -> None:
        """Hand what only the driver holds on to its children; the node flushes those."""

    async def flush_to_disk(self) -> None:
        """Make what was written stable; not called where flushes are to be ignored."""

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """What the area from `offset` holds, as far as it is uniform."""
        return BlockStatus(length, data=True, zero=False, allocated=True)

    async def status_map(self, offset: int, length: int) -> StatusMap | None:
        """What an area holds, or the first part of it, as `block_status` tells.

        :returns: None where only that can tell
        """
        return None

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length to `size` bytes."""
        raise BlockIOError(errno.ENOTSUP, "Image format driver does not support resize")

    def cluster_size(self) -> int | None:
        """Bytes that are allocated together; None where the driver reports none."""
        return None

    def vm_state_offset(self) -> int:
        """Where a guest's state would be saved, bytes."""
        return 0

    async def info_members(self) -> dict[str, Any]:
        """Further members of ImageInfo: cluster-size, dirty-flag, format-specific..."""
        return {}

    def specific_stats(self) -> dict[str, Any] | None:
        """BlockStatsSpecific of the node."""
        return None

    def allocated_size(self) -> int | None:
        """Bytes in use where the node's own data lies: the sum over such children."""
        raise NotImplementedError

    def listed_children(self) -> list[NodeT]:
        """The children, in the order of the list that their options are (`lists_children`)."""
        raise NotImplementedError

    def exact_filename(self) -> str | None:
        """A plain file name that says all there is to say of this node; None if there is none."""
        return None

    def directory(self) -> str:
        """What the names begin with that are relative to the node (``bdrv_dirname``).

        :raises GenericError: it has none
        """
        own = self.exact_filename()
        if own is None:
            raise GenericError(f"Cannot generate a base directory for {self.format_name} nodes")
        before, separator, _ = own.rpartition("/")
        return before + separator

    @classmethod
    def creation_line(
        cls, name: str, size: int, backing_file: str | None, backing_format: str | None
    ) -> str:
        """What is printed when an image is made by file name."""
        return f"Formatting '{name}', fmt={cls.format_name} size={size}\n"

    # Backing files and bitmaps in the image

    async def change_backing_file(self, name: str | None, backing_format: str | None) -> None:
        """Write another backing file name and format into the header.

        :raises BlockIOError: it has no such, or that failed
        """
        raise BlockIOError(errno.ENOTSUP)

    @property
    def named_backing_file(self) -> str:
        """The backing file's name as the image itself has it now; empty if there is none."""
        return ""

    def absolute_filename(self, name: str) -> str:
        """`name`, if it is relative to the image's directory, seen from where the program is.

        :raises GenericError: the image is in something without directories
        """
        return name

    async def open_backing(self, options: Mapping[str, Any]) -> None:
        """Open the backing file that the options name, or else the image itself.

        :raises QmpError: it cannot be opened
        """

    def check_can_store_bitmap(self, name: str, granularity: int) -> None:
        """Whether a new persistent bitmap could be stored.

        :raises GenericError: why not
        """
        raise NotImplementedError

    async def remove_persistent_bitmap(self, name: str) -> None:
        """Remove the stored copy of a persistent bitmap, if there is one."""
