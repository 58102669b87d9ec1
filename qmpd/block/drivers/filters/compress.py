"""compress: a filter that turns all writes into compressed writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.model.limits import BlockLimits
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class Compress(Filter):
    """Writes whole clusters, compressed, to its file."""

    format_name = "compress"

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        driver = cls(node)
        below = driver.filtered.driver
        # What a filter can is not looked at below it: there writes may still fail.
        if not below.capabilities.write_compressed:
            raise GenericError(
                f"Compression is not supported for underlying format: {below.format_name}"
            )
        return driver

    def limits(self) -> BlockLimits | None:
        """Requests must cover whole clusters: a compressed cluster cannot be changed in part."""
        return BlockLimits(request_alignment=self.cluster_size() or 1)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        await self.filtered.pwrite_compressed(offset, data)
        if fua:
            await self.filtered.flush()
