"""raw: the bytes of its `file` child, or a window of them."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.change.probe import PROBE_SIZE, probe, warn_of_guess
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver, check_sizes
from qmpd.block.model.limits import BlockLimits
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import (
    DATA,
    FILTERED,
    PRIMARY,
    RESIZE,
    WRITE,
    Perm,
    Permissions,
    Role,
)
from qmpd.errors import BlockIOError, GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.node import Node
    from qmpd.block.model.status_map import StatusMap


class Raw(BlockDriver):
    """A window of `size` bytes from `offset`; without a size, up to the end of the file."""

    format_name = "raw"
    shape = Shape(
        is_format=True,
        file_child=True,
        options_first=True,
        strong_options=("offset", "size"),
        mutable_options=("offset", "size"),
    )
    runtime_options = {"offset": Kind.SIZE, "size": Kind.SIZE}
    capabilities = Capabilities(write_zeroes=True, discard=True, creates_images=True, reopen=True)

    def __init__(self, node: Node, offset: int, size: int | None) -> None:
        super().__init__(node)
        self.offset = offset
        self.size = size

    @classmethod
    def file_role(cls, options: Mapping[str, Any]) -> Role:
        """Without offset and size the child is filtered; with them it is data (raw_open)."""
        check_sizes(options, ("offset", "size"))
        windowed = options.get("offset", 0) or "size" in options
        return (DATA if windowed else FILTERED) | PRIMARY

    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """Take only the permissions that the node's own parents use, even on a window."""
        wanted, shared = super().child_permissions(node, role, perm, shared)
        return wanted & ~(WRITE | RESIZE) | perm & (WRITE | RESIZE), shared

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        warn_of_guess(node)
        offset, size = _window(options, node.children["file"].node.length)
        return cls(node, offset, size)

    def limits(self) -> BlockLimits | None:
        """A probed raw node takes whole sectors, to inspect what is written to the first one."""
        return BlockLimits(request_alignment=PROBE_SIZE) if self.node.probed else None

    @property
    def file(self) -> Node:
        """The node below."""
        return self.node.children["file"].node

    @override
    async def reopen_prepare(self, state: ReopenState) -> None:
        """Check `offset` and `size` of the options."""
        state.data = _window(state.options, self.file.length)

    @override
    async def reopen_commit(self, state: ReopenState) -> None:
        self.offset, self.size = state.data

    @override
    def cancel_in_flight(self) -> None:
        self.file.driver.cancel_in_flight()

    def has_info(self) -> bool:
        """That of the file."""
        return self.file.driver.has_info()

    def has_zero_init(self) -> bool:
        """That of the file."""
        return self.file.driver.has_zero_init()

    def get_length(self) -> int:
        """The size of the window, or what the file has after the offset."""
        if self.size is not None:
            return self.size
        return max(0, self.file.length - self.offset)

    def cluster_size(self) -> int | None:
        """That of the file."""
        return self.file.driver.cluster_size()

    @override
    def passes_to(self) -> tuple[Node, int] | None:
        file = self.node.children["file"].node
        return None if file.driver.capabilities.hears_events else (file, self.offset)

    @override
    def fixed_size(self) -> int | None:
        return self.size

    def _check(self, offset: int, length: int) -> int:
        if self.size is not None and offset + length > self.size:
            raise BlockIOError(errno.ENOSPC)
        return self.offset + offset

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        file = self.file
        if file.driver.capabilities.hears_events:
            file.debug_event("read_aio")
        return await file.pread(self.offset + offset, length)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Refuse a first sector that would be probed as another format, where raw was a guess."""
        if offset < PROBE_SIZE and self.node.probed and probe(bytes(data[:PROBE_SIZE])) != "raw":
            raise BlockIOError(errno.EPERM)
        file, start = self.file, self._check(offset, len(data))
        if file.driver.capabilities.hears_events:
            file.debug_event("write_aio")
        await file.pwrite(start, data, fua=fua)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        await self.file.pwrite_zeroes(self._check(offset, length), length, may_unmap=may_unmap)

    @override
    async def zero_fast(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        start = self._check(offset, length)
        await self.file.pwrite_zeroes(start, length, may_unmap=may_unmap, no_fallback=True)

    def zeroes_without_fallback(self) -> bool:
        """Whether the file can."""
        return self.file.driver.zeroes_without_fallback()

    def zeroes_may_unmap(self) -> bool:
        """Whether the file can."""
        return self.file.driver.zeroes_may_unmap()

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        await self.file.pdiscard(self._check(offset, length), length)

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """Refer to the file at the window's offset."""
        return await self.file.block_status(self.offset + offset, length)

    @override
    async def status_map(self, offset: int, length: int) -> StatusMap | None:
        if self.offset:
            return None
        return await self.file.status_map(offset, length)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Resize the file; a window of fixed size stays."""
        if self.size is not None:
            raise BlockIOError(errno.ENOTSUP, "Cannot resize fixed-size raw disks")
        if size > (2**63 - 1) - self.offset:
            raise BlockIOError(errno.EINVAL, "Disk size too large for the chosen offset")
        await self.file.truncate(size + self.offset, exact=exact, prealloc=prealloc)

    async def info_members(self) -> dict[str, Any]:
        """The file's information on its clusters."""
        members = await self.file.driver.info_members()
        return {name: members[name] for name in ("cluster-size", "dirty-flag") if name in members}


def _window(options: Mapping[str, Any], whole: int) -> tuple[int, int | None]:
    """Read the options: offset and size, bytes.

    :param whole: length of the file
    :raises GenericError: it has no such window
    """
    check_sizes(options, ("offset", "size"))
    offset, size = options.get("offset", 0), options.get("size")
    if offset > whole:
        raise GenericError(
            f"Offset ({offset}) cannot be greater than size of the containing file ({whole})"
        )
    if size is not None and whole - offset < size:
        raise GenericError(
            f"The sum of offset ({offset}) and size ({size}) has to be smaller or equal to"
            f" the  actual size of the containing file ({whole})"
        )
    if size is not None and size % 512:
        raise GenericError("Specified size is not multiple of 512")
    return offset, size
