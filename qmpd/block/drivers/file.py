"""file: the bytes of an image of the machine's storage."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

from qmpd.block.driver import BlockDriver, BlockStatus
from qmpd.block.images import Image
from qmpd.errors import BlockIOError, GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.graph import Graph
    from qmpd.block.node import Node

_REFUSED: Final = ("pr-manager", "x-check-cache-dropped")
"""Options that would do something here, and do not."""


class File(BlockDriver):
    """A regular file of the storage, whatever that is made of."""

    format_name = "file"
    is_protocol = True
    needs_filename = True
    can_write_zeroes = True
    can_discard = True
    can_truncate = True
    has_info = True

    def __init__(self, node: Node, image: Image) -> None:
        super().__init__(node)
        self.image = image
        self._discards = {"discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0}

    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        """See `BlockDriver.open`."""
        for name in _REFUSED:
            if options.get(name):
                raise NotServed(f"Option '{name}' of driver 'file' is not served by qmpd")
        aio = options.get("aio", "threads")
        if aio == "native" and not node.cache.direct:
            raise GenericError(
                "aio=native was specified, but it requires cache.direct=on, which was not"
                " specified."
            )
        image = node.graph.storage.open(
            options["filename"],
            read_only=node.read_only,
            auto_read_only=options.get("auto-read-only", False),
        )
        node.read_only = image.read_only
        return cls(node, image)

    async def close(self) -> None:
        """Let go of the image; its bytes stay in the storage."""
        self.image.close()

    def get_length(self) -> int:
        """See `BlockDriver.get_length`."""
        return self.image.length()

    async def pread(self, offset: int, length: int) -> bytes:
        """Read; zeroes behind the end of the last sector's bytes."""
        return self.image.pread(offset, length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write; the file grows as needed."""
        self.image.pwrite(offset, data)
        if fua:
            await self.flush()

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Give the space back, or zero it in place."""
        self.image.zero(offset, length, may_unmap=may_unmap)

    async def pdiscard(self, offset: int, length: int) -> None:
        """Give the space back."""
        try:
            self.image.punch(offset, length)
        except BlockIOError:
            self._discards["discard-nb-failed"] += 1
            raise
        self._discards["discard-nb-ok"] += 1
        self._discards["discard-bytes-ok"] += length

    async def flush(self) -> None:
        """Make the bytes stable, unless flushes are to be ignored."""
        if not self.node.cache.no_flush:
            self.image.flush()

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """Data or a hole."""
        is_data, size = self.image.extent(offset, length)
        size = min(length, -(-size // 512) * 512)
        return BlockStatus(
            size, data=is_data, zero=not is_data, allocated=True, offset=offset, file=self.node
        )

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Cut or extend the file."""
        if prealloc not in ("off", "falloc", "full"):
            raise BlockIOError(errno.ENOTSUP, f"Unsupported preallocation mode '{prealloc}'")
        current = self.image.length()
        if current > size and prealloc != "off":
            raise BlockIOError(
                errno.ENOTSUP, f"Preallocation mode '{prealloc}' unsupported for shrinking files"
            )
        self.image.truncate(size, allocate=prealloc != "off")

    async def set_read_only(self, read_only: bool) -> None:
        """Open the image again, the other way."""
        image = self.node.graph.storage.open(self.node.options["filename"], read_only=read_only)
        self.image.close()
        self.image = image

    async def info_members(self) -> dict[str, Any]:
        """A file is never dirty, and has nothing special to tell."""
        return {"dirty-flag": False, "format-specific": {"type": "file", "data": {}}}

    def specific_stats(self) -> dict[str, Any] | None:
        """Discards, counted."""
        return {"driver": "file", **self._discards}

    def allocated_size(self) -> int | None:
        """See `BlockDriver.allocated_size`."""
        return self.image.allocated()

    def exact_filename(self) -> str | None:
        """The path."""
        return str(self.node.options["filename"])

    @classmethod
    def check_create(cls, options: Mapping[str, Any]) -> None:
        """See `BlockDriver.check_create`."""

    @classmethod
    async def create(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        """Make a file of `size` bytes, or empty and extend the one that is there."""
        prealloc = options.get("preallocation", "off")
        if prealloc not in ("off", "falloc", "full"):
            raise BlockIOError(errno.EINVAL, f"Unsupported preallocation mode '{prealloc}'")
        if options.get("nocow"):
            raise NotServed("Option 'nocow' of driver 'file' is not served by qmpd")
        if options.get("extent-size-hint"):
            raise NotServed("Option 'extent-size-hint' of driver 'file' is not served by qmpd")
        size = options["size"]
        if not 0 <= size < 1 << 63:
            raise BlockIOError(errno.EFBIG, f"Could not resize file: {os.strerror(errno.EFBIG)}")
        image = graph.storage.create(options["filename"])
        try:
            image.truncate(size, allocate=prealloc != "off")
        finally:
            image.close()
