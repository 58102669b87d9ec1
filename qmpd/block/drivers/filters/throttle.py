"""throttle: a filter whose requests count against a throttle group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.throttle.group import ThrottleGroup, ThrottleMember
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node


class Throttle(Filter):
    """Delays requests as the limits of the group require."""

    format_name = "throttle"
    shape = replace(
        Filter.shape, strong_options=("throttle-group",), needed_options=("throttle-group",)
    )
    capabilities = replace(
        Filter.capabilities,
        reopen=True,
        flushes_children=True,
        hears_drains=True,
        write_compressed=True,
    )

    def __init__(self, node: Node, group: ThrottleGroup) -> None:
        super().__init__(node)
        self.member = ThrottleMember(group)

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        return cls(node, find_group(node.graph, options["throttle-group"]))

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        options = flat.take({"throttle-group": Kind.STRING})
        if not options:
            raise GenericError("Please specify a throttle group")
        return options

    @override
    async def close(self) -> None:
        self.member.leave()

    @override
    async def reopen_prepare(self, state: ReopenState) -> None:
        """Look up the group that the options name."""
        name = state.options.get("throttle-group")
        state.data = self.member.group if name is None else find_group(self.node.graph, name)

    @override
    async def reopen_commit(self, state: ReopenState) -> None:
        if state.data is not self.member.group:
            self.member.move(state.data)

    @override
    def drained_begin(self) -> None:
        """Let the delayed requests go on: a drained node must become idle."""
        self.member.drained_begin()

    @override
    def drained_end(self) -> None:
        self.member.drained_end()

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        await self.member.intercept(length, is_write=False)
        return await self.filtered.pread(offset, length)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        await self.member.intercept(len(data), is_write=True)
        await self.filtered.pwrite(offset, data, fua=fua)

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        await self.member.intercept(length, is_write=True)
        await self.filtered.pwrite_zeroes(offset, length, may_unmap=may_unmap)

    @override
    async def pdiscard(self, offset: int, length: int) -> None:
        await self.member.intercept(length, is_write=True)
        await self.filtered.pdiscard(offset, length)

    def can_write_compressed(self) -> bool:
        """Whether the file can, too."""
        return self.filtered.driver.can_write_compressed()

    @override
    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        await self.member.intercept(len(data), is_write=True)
        await self.filtered.pwrite_compressed(offset, data)


def find_group(graph: Graph, name: str) -> ThrottleGroup:
    """The throttle group called `name`.

    :raises GenericError: there is no such group
    """
    group = graph.throttle_groups.find(name)
    if group is None:
        raise GenericError(f"Throttle group '{name}' does not exist")
    return group
