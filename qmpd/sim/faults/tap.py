"""Where faults meet the requests to a node: between the node and its driver.

The methods of that one driver object are covered by those of a `Tap`, and only those that some
fault is about; nodes without faults are not touched, and queries show nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from qmpd.sim.faults.io import IoFault

if TYPE_CHECKING:
    from qmpd.block.model.data import BlockStatus
    from qmpd.block.model.node import Node

Wait = Callable[[int], Awaitable[None]]
"""Lets nanoseconds of the machine's clock pass."""

REQUESTS: Final = (
    *("pread", "pwrite", "pwrite_zeroes", "pwrite_compressed"),
    *("pdiscard", "flush_to_disk", "truncate", "block_status"),
)
"""The methods of a driver that can be covered."""


def _method(request: str) -> str:
    """The driver's method for a request."""
    return "flush_to_disk" if request == "flush" else request


class Tap:
    """The faults of one node.

    :param wait: how a delay passes
    """

    def __init__(self, node: Node, wait: Wait) -> None:
        self._node = node
        self._driver = node.driver
        self._wait = wait
        self._faults: list[IoFault] = []

    def set_faults(self, faults: Iterable[IoFault]) -> None:
        """Have these faults, the oldest first, and cover what they are about."""
        self._faults = list(faults)
        wanted = {_method(request) for fault in self._faults for request in fault.requests}
        own = vars(self._driver)
        for method in REQUESTS:
            if method in wanted:
                own[method] = getattr(self, method)
            else:
                own.pop(method, None)
        if "flush_to_disk" in wanted and self._driver.capabilities.flushes_children:
            own["flush"] = self.flush
        else:
            own.pop("flush", None)
        # who reads and writes without asking the driver must ask it now
        for method in ("passes_to", "at_hand"):
            if wanted:
                own[method] = _nothing
            else:
                own.pop(method, None)
        if "block_status" in wanted:
            own["status_map"] = _no_map
        else:
            own.pop("status_map", None)
        # a driver above must not read the image of this one without asking it
        if "pread" in wanted:
            vars(self._node)["begin_read"] = _no
        else:
            vars(self._node).pop("begin_read", None)

    async def _meet(self, request: str, offset: int = 0, length: int = 0) -> list[IoFault]:
        """A request has come: wait and fail as the faults have it.

        :returns: those that change what is read or written
        :raises BlockIOError: one of them says so
        """
        changing = []
        for fault in tuple(self._faults):
            if request not in fault.requests or not fault.touches(offset, length):
                continue
            where = {"at": offset, "bytes": length} if request != "flush" else {}
            if not fault.meets(request=request, on=self._node.node_name, **where):
                continue
            if fault.delay:
                await self._wait(fault.delay)
            if fault.short is None:
                fault.raise_error(_TEXTS.get(request))
            changing.append(fault)
        return changing

    async def pread(self, offset: int, length: int) -> bytes:
        """A read; what it brings may be cut short or changed."""
        changing = await self._meet("pread", offset, length)
        cut = min([length, *(fault.short for fault in changing if fault.short is not None)])
        read = type(self._driver).pread
        data = await read(self._driver, offset, cut) if cut else b""
        for fault in changing:
            data = bytes(fault.changed(offset, data))
            if fault.short is not None:
                fault.raise_error()
        return data + bytes(length - cut)

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """A write; what arrives may be cut short or changed."""
        write = type(self._driver).pwrite
        for fault in await self._meet("pwrite", offset, len(data)):
            data = fault.changed(offset, data)
            if fault.short is not None and fault.short < len(data):
                if fault.short:
                    await write(self._driver, offset, data[: fault.short])
                fault.raise_error()
        await write(self._driver, offset, data, fua=fua)

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """A write of zeroes."""
        await self._meet("pwrite_zeroes", offset, length)
        zero = type(self._driver).pwrite_zeroes
        await zero(self._driver, offset, length, may_unmap=may_unmap)

    async def pwrite_compressed(self, offset: int, data: bytes | memoryview) -> None:
        """A compressed write."""
        await self._meet("pwrite_compressed", offset, len(data))
        await type(self._driver).pwrite_compressed(self._driver, offset, data)

    async def pdiscard(self, offset: int, length: int) -> None:
        """A discard."""
        await self._meet("pdiscard", offset, length)
        await type(self._driver).pdiscard(self._driver, offset, length)

    async def flush_to_disk(self) -> None:
        """A flush, where there is something to flush."""
        await self._meet("flush")
        await type(self._driver).flush_to_disk(self._driver)

    async def flush(self) -> None:
        """A flush of a driver that flushes its children by itself."""
        await self._meet("flush")
        await type(self._driver).flush(self._driver)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """A change of the length."""
        await self._meet("truncate", size)
        await type(self._driver).truncate(self._driver, size, exact=exact, prealloc=prealloc)

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """The question what an area holds."""
        await self._meet("block_status", offset, length)
        return await type(self._driver).block_status(self._driver, offset, length)


_TEXTS: Final = {"truncate": "Could not resize file"}
"""What errors say beside their errno: the words of the file driver."""


def _no() -> bool:
    return False


async def _no_map(offset: int, length: int) -> None:
    """Each status is asked for by itself."""


def _nothing() -> None:
    """There is no short way."""
