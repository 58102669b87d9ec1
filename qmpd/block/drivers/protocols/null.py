"""null-co and null-aio: nodes of any length that hold no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from qmpd.base.override import override
from qmpd.block.model.data import BlockStatus, Bytes
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Kind

if TYPE_CHECKING:
    from qmpd.block.model.flat_options import FlatOptions
    from qmpd.block.model.node import Node

DEFAULT_SIZE: Final = 1 << 30
"""Bytes, where no size is given."""

UNREAD: Final = b"\xab"
"""A byte of a buffer that nothing was read into: qemu-io, which shows its own, fills it so."""


_KEPT: Final = 1 << 20
"""Bytes that a node keeps of what it gave last, for others to be given the same."""


class NullCo(BlockDriver):
    """Discards writes; reads as zeroes, guaranteed only with `read-zeroes`."""

    format_name: ClassVar[str] = "null-co"
    shape = Shape(is_protocol=True, strong_options=("size", "read-zeroes"))
    runtime_options = {"size": Kind.SIZE, "latency-ns": Kind.NUMBER, "read-zeroes": Kind.BOOL}
    capabilities = Capabilities(reopen=True)

    def __init__(self, node: Node, size: int, latency: int, *, read_zeroes: bool) -> None:
        super().__init__(node)
        self.size = size
        self.latency = latency
        self.read_zeroes = read_zeroes
        self._data = b""
        self._nothing = _Nothing(self)

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        latency = options.get("latency-ns", 0)
        if latency < 0 or latency >= 1 << 63:
            raise GenericError("latency-ns is invalid")
        size = options.get("size", DEFAULT_SIZE)
        if size < 0:
            raise GenericError("Parameter 'size' expects a non-negative value")
        return cls(node, size, latency, read_zeroes=options.get("read-zeroes", False))

    @classmethod
    @override
    def parse_filename(cls, filename: str, flat: FlatOptions) -> None:
        if filename != f"{cls.format_name}://":
            raise GenericError(
                f"The only allowed filename for this driver is '{cls.format_name}://'"
            )

    @override
    def get_length(self) -> int:
        if self.node.services.manners.lengths_are_limited:
            return self.size
        held = int(float(self.size))
        return held if held < 1 << 63 else 0  # what does not fit is nothing

    @override
    def at_hand(self) -> Bytes | None:
        return None if self.latency else self._nothing

    async def _wait(self) -> None:
        if self.latency:
            await self.node.services.loop.sleep(self.latency)

    async def pread(self, offset: int, length: int) -> bytes:
        """Zeroes with `read-zeroes`; otherwise QEMU leaves the buffer as it was."""
        await self._wait()
        return self.data(length)

    def data(self, length: int) -> bytes:
        """What a read of so many bytes gets."""
        if len(self._data) == length:
            return self._data
        data = bytes(length) if self.read_zeroes else UNREAD * length
        if length <= _KEPT:
            self._data = data
        return data

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Discard `data`."""
        await self._wait()

    async def flush(self) -> None:
        """Nothing to flush, but it takes `latency-ns`."""
        await self._wait()

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """No data; zeroes with `read-zeroes`."""
        return BlockStatus(
            length, data=False, zero=self.read_zeroes, allocated=self.read_zeroes, offset=offset
        )

    def allocated_size(self) -> int | None:
        """Nothing is allocated."""
        return 0

    def exact_filename(self) -> str | None:
        """``null-co://``, unless an option affects the data."""
        if not self.node.options.keys().isdisjoint(self.shape.strong_options):
            return None
        return f"{self.format_name}://"


class _Nothing(Bytes):
    """The bytes of a node that has none."""

    fd = -1

    def __init__(self, driver: NullCo) -> None:
        self._driver = driver

    @override
    def extent(self, offset: int, length: int) -> tuple[bool, int]:
        return not self._driver.read_zeroes, length

    @override
    def parts(self, offset: int, length: int) -> Sequence[bytes]:
        return (self._driver.data(length),)

    @override
    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        """Discard `data`."""

    @override
    def pread_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._driver.data(len(buffer))

    @override
    def read_cached(self, offset: int, buffer: memoryview) -> bool:
        return False


class NullAio(NullCo):
    """null-aio: the same, through QEMU's AIO interface."""

    format_name = "null-aio"
