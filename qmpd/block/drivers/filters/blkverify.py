"""blkverify: reads and writes two images alike, and ends the program when they differ."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from qmpd.base.override import override
from qmpd.block.change.graph_lock import write_lock
from qmpd.block.change.opening import open_child
from qmpd.block.drivers.filters.filter import Filter
from qmpd.block.model.filename import exact_filename
from qmpd.block.model.traits import Capabilities
from qmpd.block.permission_bits import DATA, FILTERED, PRIMARY
from qmpd.errors import BlockIOError, GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.node import Node

T = TypeVar("T")


class BlkVerify(Filter):
    """Shows what its `raw` child holds, and checks that its `test` child holds the same.

    Where the two differ, in what is read or in whether a request fails, the program says so on
    standard error and ends with status 1, as QEMU's does (docs/devel/blkverify.rst).  In a
    process that is not the machine's to end, the request fails.
    """

    format_name = "blkverify"
    shape = replace(Filter.shape, is_protocol=True, has_protocol_name=True, file_child=False)
    capabilities = Capabilities(flushes_children=True, allocated_size=False)

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        driver = cls(node)
        # Asked for the permissions of its children before it is open.
        node.driver = driver
        await open_child(node, "raw", options["raw"], role=FILTERED | PRIMARY)
        await open_child(node, "test", options["test"], role=DATA)
        return driver

    @override
    async def close(self) -> None:
        """blkverify_close takes the graph's lock to let the tested image go."""
        async with write_lock(self.node.graph):
            pass

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        names = flat.take({"x-raw": Kind.STRING, "x-image": Kind.STRING})
        return {
            "raw": flat.child("raw", names.get("x-raw"), parse_filename=True),
            "test": flat.child("test", names.get("x-image")),
        }

    @classmethod
    @override
    def parse_filename(cls, filename: str, flat: FlatOptions) -> None:
        rest = filename.removeprefix("blkverify:")
        if rest != filename:
            flat["x-raw"], colon, rest = rest.partition(":")
            if not colon:
                raise GenericError("blkverify requires raw copy and original image path")
        flat["x-image"] = rest

    @property
    def tested(self) -> Node:
        """The image that is checked."""
        return self.node.children["test"].node

    @override
    def get_length(self) -> int:
        return self.tested.length

    @override
    async def pread(self, offset: int, length: int) -> bytes:
        tested, raw = await self._both("read", offset, length, lambda n: n.pread(offset, length))
        if tested != raw:
            where = next(i for i, (a, b) in enumerate(zip(tested, raw, strict=True)) if a != b)
            self._differ("read", offset, length, f"contents mismatch at offset {offset + where}")
        return tested

    @override
    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        await self._both("write", offset, len(data), lambda n: n.pwrite(offset, data, fua=fua))

    @override
    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Have them written as data; QEMU 10.0.2 ends here with a failed assertion."""
        raise BlockIOError(errno.ENOTSUP)

    def zeroes_without_fallback(self) -> bool:
        """Zeroes are written as data."""
        return False

    def zeroes_may_unmap(self) -> bool:
        """Zeroes are written as data."""
        return False

    @override
    async def flush(self) -> None:
        """Flush the image that is checked: the other one is of no importance.

        What was to be below may refer to a filter that could not be opened: there is none then.
        """
        if "test" in self.node.children:
            await self.tested.flush()

    async def _both(
        self,
        what: str,
        offset: int,
        length: int,
        request: Callable[[Node], Coroutine[Any, Any, T]],
    ) -> tuple[T, T]:
        """Do a request on both children.

        :returns: its results, that of the image that is checked first
        :raises BlockIOError: it fails on both
        """
        results: list[T] = []
        errors: list[int] = []
        for child in (self.tested, self.filtered):
            try:
                results.append(await request(child))
                errors.append(0)
            except BlockIOError as error:
                errors.append(error.errno)
        if errors[0] != errors[1]:
            told = f"return value mismatch {-errors[0]} != {-errors[1]}"
            self._differ(what, offset, length, told)
        if errors[0]:
            raise BlockIOError(errors[0])
        return results[0], results[1]

    def _differ(self, what: str, offset: int, length: int, how: str) -> NoReturn:
        self.node.services.say.die(f"blkverify: {what} offset={offset} bytes={length} {how}")
        raise BlockIOError(errno.EIO)

    @override
    def can_replace(self, node: Node) -> bool | None:
        """Both children show what this node shows, or else there is no program any more."""
        return self.filtered.can_replace(node) or self.tested.can_replace(node)

    @override
    def exact_filename(self) -> str | None:
        """``blkverify:RAW:TEST``."""
        raw, tested = exact_filename(self.filtered), exact_filename(self.tested)
        return None if raw is None or tested is None else f"blkverify:{raw}:{tested}"

    @override
    def absolute_filename(self, name: str) -> str:
        """Two images below, perhaps in two directories: none is the node's."""
        raise GenericError("Cannot generate a base directory for blkverify nodes")
