"""quorum: several children with the same contents, which vote on every read."""

from __future__ import annotations

import errno
import os
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from qmpd.base.override import override
from qmpd.base.sizes import SECTOR, as_int
from qmpd.block.change.edges import attach_child, release_child
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.opening import open_child
from qmpd.block.drivers.filters.quorum_vote import Votes
from qmpd.block.io.chain_status import block_status_above
from qmpd.block.model.child_list import ChildList
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    DATA,
    WRITE,
    WRITE_UNCHANGED,
    Perm,
    Permissions,
    Role,
)
from qmpd.errors import BlockIOError, GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.node import Edge, Node


_OPTIONS: Final = {
    "vote-threshold": Kind.NUMBER,
    "blkverify": Kind.BOOL,
    "rewrite-corrupted": Kind.BOOL,
    "read-pattern": Kind.STRING,
}


class Quorum(BlockDriver, ChildList):
    """Returns the version that at least `threshold` children agree on.

    `fifo`: read from the first child that can be read.  `blkverify`: two children that must
    agree.  `rewrite`: write the winning version to children that lost the vote.
    """

    format_name = "quorum"
    shape = Shape(
        lists_children=True,
        strong_options=("vote-threshold", "blkverify", "rewrite-corrupted", "read-pattern"),
    )
    capabilities = Capabilities(write_zeroes=True, flushes_children=True)

    def __init__(self, node: Node, options: Mapping[str, Any]) -> None:
        super().__init__(node)
        # QEMU keeps it in a C int.
        self.threshold = as_int(options["vote-threshold"])
        self._pattern = options.get("read-pattern", "quorum")
        self.fifo = self._pattern == "fifo"
        self.blkverify = not self.fifo and options.get("blkverify", False)
        self.rewrite = not self.fifo and options.get("rewrite-corrupted", False)
        self._next_index = 0

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        driver = cls(node, options)
        node.driver = driver
        driver._check(options["children"])
        for reference in options["children"]:
            await open_child(node, driver._next_name(), reference, role=DATA)
        return driver

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        count = flat.count("children")
        if count < 0:
            raise GenericError("Option children is not a valid array")
        if count == 0:
            raise GenericError("Number of provided children must be 1 or more")
        options = {"vote-threshold": 0, **flat.take(_OPTIONS)}
        return options | {"children": [flat.child(f"children.{number}") for number in range(count)]}

    @override
    async def close(self) -> None:
        """quorum_close takes the graph's lock to let its children go."""
        async with write_lock(self.node.graph):
            pass

    def _check(self, children: list[Any]) -> None:
        if not children:
            raise GenericError("Number of provided children must be 1 or more")
        if self.threshold < 1:
            raise GenericError("Parameter 'vote-threshold' expects a value >= 1")
        if self.threshold > len(children):
            raise GenericError("threshold may not exceed children count")
        if self._pattern not in ("quorum", "fifo"):
            raise GenericError("Please set read-pattern as fifo or quorum")
        if self.blkverify and (len(children) != 2 or self.threshold != 2):
            raise GenericError(
                "blkverify=on can only be set if there are exactly two files and"
                " vote-threshold is 2"
            )
        if self.rewrite and self.blkverify:
            raise GenericError("rewrite-corrupted=on cannot be used with blkverify=on")

    def _next_name(self) -> str:
        name = f"children.{self._next_index}"
        self._next_index += 1
        return name

    @classmethod
    def child_permissions(cls, node: Node, role: Role, perm: Perm, shared: Perm) -> Permissions:
        """Share no writes: the children would differ."""
        if isinstance(node.driver, Quorum) and node.driver.rewrite:
            perm |= WRITE
        return perm, shared & (CONSISTENT_READ | WRITE_UNCHANGED) & ALL

    @property
    def voters(self) -> list[Node]:
        """The children, in the order of the list."""
        return self.listed_children()

    def listed_children(self) -> list[Node]:
        """The children, sorted by the numbers in their names."""
        edges = self.node.children.values()
        return [e.node for e in sorted(edges, key=lambda e: int(e.name.partition(".")[2]))]

    def can_replace(self, node: Node) -> bool | None:
        """A child can be replaced by a copy of the quorum if it has no other parent.

        What the quorum shows does not change; what another parent sees might.
        """
        return node is self.node or (node in self.listed_children() and len(node.parents) == 1)

    def get_length(self) -> int:
        """The children's length.

        :raises BlockIOError: EIO if they differ in it
        """
        lengths = {child.length for child in self.voters}
        if len(lengths) != 1:
            raise BlockIOError(
                errno.EIO, "Could not refresh total sector count: Input/output error"
            )
        return lengths.pop()

    # Reports

    def _report_bad(
        self, kind: str, offset: int, length: int, child: Node, error: BlockIOError | None
    ) -> None:
        first, count = _sectors(offset, length)
        data: dict[str, Any] = {"type": kind}
        if error is not None:
            data["error"] = os.strerror(error.errno)
        data |= {"node-name": child.node_name, "sector-num": first, "sectors-count": count}
        self.node.services.emit("QUORUM_REPORT_BAD", data)

    def _report_failure(self, offset: int, length: int) -> None:
        first, count = _sectors(offset, length)
        self.node.services.emit(
            "QUORUM_FAILURE",
            {
                "reference": self.node.device_or_node_name,
                "sector-num": first,
                "sectors-count": count,
            },
        )

    def _most_common(self, errors: list[BlockIOError]) -> BlockIOError:
        """The most frequent error of the children; of equally frequent ones the last."""
        votes = Votes[int]()
        for index, error in enumerate(errors):
            votes.add(error.errno, index)
        return BlockIOError(votes.winner().value)

    # Reading

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        if self.fifo:
            return await self._read_first(offset, length)
        results: list[bytes | None] = []
        errors: list[BlockIOError] = []
        for child in self.voters:
            try:
                results.append(await child.pread(offset, length))
            except BlockIOError as error:
                results.append(None)
                errors.append(error)
                self._report_bad("read", offset, length, child, error)
        return await self._vote(offset, length, results, errors)

    async def _read_first(self, offset: int, length: int) -> bytes:
        failure = BlockIOError(errno.EIO)
        for child in self.voters:
            try:
                return await child.pread(offset, length)
            except BlockIOError as error:
                failure = error
                self._report_bad("read", offset, length, child, error)
        raise failure

    async def _vote(
        self, offset: int, length: int, results: list[bytes | None], errors: list[BlockIOError]
    ) -> bytes:
        votes = Votes[bytes]()
        for index, data in enumerate(results):
            if data is not None:
                votes.add(data, index)
        if len(results) - len(errors) < self.threshold:
            self._report_failure(offset, length)
            raise self._most_common(errors)
        versions = votes.versions
        if len(versions) == 1:
            return versions[0].value
        if self.blkverify:
            self._mismatch(offset, length, results)
        winner = votes.winner()
        if len(winner.voters) < self.threshold:
            self._report_failure(offset, length)
            raise BlockIOError(errno.EIO)
        children = self.voters
        bad = [index for v in versions if v is not winner for index in v.voters]
        for index in bad:
            self._report_bad("read", offset, length, children[index], None)
        if self.rewrite:
            for index in bad:
                with suppress(BlockIOError):
                    await children[index].pwrite(offset, winner.value)
        return winner.value

    def _mismatch(self, offset: int, length: int, results: list[bytes | None]) -> None:
        """Report that the children of a blkverify quorum differ, where QEMU would exit."""
        first, second = results[0] or b"", results[1] or b""
        at = next((i for i in range(length) if first[i : i + 1] != second[i : i + 1]), 0)
        self.node.services.say.report(
            f"quorum: offset={offset} bytes={length} contents mismatch at offset {offset + at}"
        )
        raise BlockIOError(errno.EIO)

    # Writing

    async def _write(
        self, offset: int, length: int, requests: list[tuple[Node, Coroutine[Any, Any, None]]]
    ) -> None:
        errors: list[BlockIOError] = []
        for child, request in requests:
            try:
                await request
            except BlockIOError as error:
                errors.append(error)
                self._report_bad("write", offset, length, child, error)
        if len(requests) - len(errors) < self.threshold:
            self._report_failure(offset, length)
            raise self._most_common(errors)

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        requests = [(child, child.pwrite(offset, data)) for child in self.voters]
        await self._write(offset, len(data), requests)
        if fua:
            await self.flush()

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        requests = [
            (child, child.pwrite_zeroes(offset, length, may_unmap=may_unmap))
            for child in self.voters
        ]
        await self._write(offset, length, requests)

    async def flush(self) -> None:
        """Flush enough of the children."""
        errors: list[BlockIOError] = []
        for child in self.voters:
            try:
                await child.flush()
            except BlockIOError as error:
                errors.append(error)
                self._report_bad("flush", 0, 0, child, error)
        if errors and len(self.voters) - len(errors) < self.threshold:
            raise self._most_common(errors)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Change the length of all children."""
        raise BlockIOError(errno.ENOTSUP, "Image format driver does not support resize")

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """Zeroes if all children have zeroes; data if any child has data."""
        zero, data = length, 0
        for child in self.voters:
            try:
                status = await block_status_above(child, None, offset, length)
            except BlockIOError as error:
                self._report_bad("read", offset, length, child, error)
                data = length
                break
            if status.data:
                data = max(data, status.length)
            else:
                zero = min(zero, status.length)
        if data:
            return BlockStatus(data, data=True, zero=False, allocated=True)
        return BlockStatus(zero, data=False, zero=True, allocated=True)

    # Children that come and go

    @override
    def check_add_child(self) -> None:
        if self.blkverify:
            raise GenericError("Cannot add a child to a quorum in blkverify mode")

    @override
    def add_child(self, child: Node) -> None:
        name = self._next_name()
        try:
            attach_child(self.node, name, child, DATA)
        except BaseException:
            self._next_index -= 1
            raise

    @override
    def del_child(self, edge: Edge) -> Node:
        if len(self.node.children) <= self.threshold:
            raise GenericError(
                f"The number of children cannot be lower than the vote threshold {self.threshold}"
            )
        if edge.name == f"children.{self._next_index - 1}":
            self._next_index -= 1
        return release_child(self.node, edge.name)


def _sectors(offset: int, length: int) -> tuple[int, int]:
    first = offset // SECTOR
    return first, -(-(offset + length) // SECTOR) - first
