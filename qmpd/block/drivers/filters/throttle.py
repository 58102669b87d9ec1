"""throttle: a filter under the limits of a throttle group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.throttle.group import ThrottleGroup, ThrottleMember
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


class Throttle(Filter):
    """Holds requests up as the group says."""

    format_name = "throttle"
    shape = replace(
        Filter.shape, strong_options=("throttle-group",), needed_options=("throttle-group",)
    )
    capabilities = replace(Filter.capabilities, reopen=True)

    def __init__(self, node: Node, group: ThrottleGroup) -> None:
        super().__init__(node)
        self.member = ThrottleMember(group)

    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        """See `BlockDriver.open`."""
        return cls(node, find_group(node.graph, options["throttle-group"]))

    async def close(self) -> None:
        """See `BlockDriver.close`."""
        self.member.leave()

    async def reopen_prepare(self, state: ReopenState) -> None:
        """See `BlockDriver.reopen_prepare`: the group may be another."""
        name = state.options.get("throttle-group")
        state.data = self.member.group if name is None else find_group(self.node.graph, name)

    async def reopen_commit(self, state: ReopenState) -> None:
        """See `BlockDriver.reopen_commit`."""
        if state.data is not self.member.group:
            self.member.move(state.data)

    def drained_begin(self) -> None:
        """See `BlockDriver.drained_begin`: what waits goes."""
        self.member.drained_begin()

    def drained_end(self) -> None:
        """See `BlockDriver.drained_end`."""
        self.member.drained_end()

    async def pread(self, offset: int, length: int) -> bytes:
        """See `BlockDriver.pread`."""
        await self.member.intercept(length, is_write=False)
        return await self.filtered.pread(offset, length)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """See `BlockDriver.pwrite`."""
        await self.member.intercept(len(data), is_write=True)
        await self.filtered.pwrite(offset, data, fua=fua)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """See `BlockDriver.pwrite_zeroes`."""
        await self.member.intercept(length, is_write=True)
        await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    async def pdiscard(self, offset: int, length: int) -> None:
        """See `BlockDriver.pdiscard`."""
        await self.member.intercept(length, is_write=True)
        await self.filtered.pdiscard(offset, length)

    def can_write_compressed(self) -> bool:
        """As the file can."""
        return self.filtered.driver.can_write_compressed()

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """See `BlockDriver.pwrite_compressed`."""
        await self.member.intercept(len(data), is_write=True)
        await self.filtered.pwrite_compressed(offset, data)


def find_group(graph: Graph, name: str) -> ThrottleGroup:
    """The throttle group called `name`.

    :raises GenericError: there is none
    """
    group = graph.throttle_groups.find(name)
    if group is None:
        raise GenericError(f"Throttle group '{name}' does not exist")
    return group
