"""nbd: the bytes of an export of an NBD server (block/nbd.c)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from qmpd.base.override import override
from qmpd.base.sizes import INT_MAX, SECTOR
from qmpd.block.drivers.protocols.nbd.client import NbdClient
from qmpd.block.drivers.protocols.nbd.connector import Connector
from qmpd.block.drivers.protocols.nbd.flat import check_no_place, take_options
from qmpd.block.drivers.protocols.nbd.handshake import Wanted
from qmpd.block.drivers.protocols.nbd.name import nbd_options
from qmpd.block.drivers.protocols.nbd.protocol import (
    MAX_BUFFER,
    MAX_STRING,
    STATE_HOLE,
    STATE_ZERO,
    Command,
    CommandFlag,
    ExportFlag,
    Mode,
)
from qmpd.block.drivers.protocols.nbd.replies import Request
from qmpd.block.model.data import BlockStatus
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.families import Connected
from qmpd.block.model.flat_options import FlatOptions
from qmpd.block.model.limits import BlockLimits
from qmpd.block.model.traits import Capabilities, Shape
from qmpd.errors import BlockIOError, GenericError

if TYPE_CHECKING:
    from qmpd.block.drivers.protocols.nbd.export_info import ExportInfo
    from qmpd.block.model.flags import ReopenState
    from qmpd.block.model.node import Node
    from qmpd.loop.secure import Cipher

_DEPTH: Final = "qemu:allocation-depth"
_LONGEST_NAME: Final = 4096


class Nbd(BlockDriver, Connected):
    """A client of one export."""

    format_name = "nbd"
    shape = Shape(
        is_protocol=True,
        # the last of three of QEMU's drivers that share all else
        protocol_name="nbd+unix",
        strong_options=("path", "host", "port", "export", "tls-creds", "tls-hostname", "server"),
    )
    capabilities = Capabilities(
        write_zeroes=True,
        discard=True,
        creates_images=True,
        reopen=True,
        allocated_size=False,
    )

    def __init__(
        self, node: Node, options: Mapping[str, Any], cipher: Callable[[], Cipher] | None
    ) -> None:
        super().__init__(node)
        services = node.services
        self._server: Mapping[str, Any] = options["server"]
        self._export: str | None = options.get("export")
        self._bitmap: str | None = options.get("x-dirty-bitmap")
        wanted = Wanted(
            (self._export or "").encode("utf-8", "surrogateescape"),
            (self._bitmap or "base:allocation").encode("utf-8", "surrogateescape"),
        )
        self.client = NbdClient(
            Connector(services, self._server, wanted, cipher),
            services.clocks.realtime,
            self._accept,
            reconnect_delay=options.get("reconnect-delay", 0),
        )

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        if "server" not in options:
            raise GenericError("NBD server address missing")
        if len(options.get("export", "").encode()) > MAX_STRING:
            raise GenericError("export name too long to send to server")
        cipher = _cipher(node, options) if "tls-creds" in options else None
        if len(options.get("x-dirty-bitmap", "").encode()) > MAX_STRING:
            raise GenericError("x-dirty-bitmap query too long to send to server")
        driver = cls(node, options, cipher)
        try:
            await driver.client.open(options.get("open-timeout", 0))
        except BaseException:
            driver.client.cut()
            raise
        return driver

    @classmethod
    @override
    def take_options(cls, flat: FlatOptions) -> dict[str, Any]:
        return take_options(flat)

    @classmethod
    @override
    def parse_filename(cls, filename: str, flat: FlatOptions) -> None:
        check_no_place(flat)
        flat.update(FlatOptions.flatten(nbd_options(filename)))

    def _accept(self, info: ExportInfo) -> None:
        """See whether an export will do (``nbd_handle_updated_info``).

        :raises QmpError: it will not
        """
        if self._bitmap is not None and info.context is None:
            raise _unusable(errno.EINVAL)
        node = self.node
        if info.flags & ExportFlag.READ_ONLY and not node.read_only:
            if not node.auto_read_only:
                raise _unusable(errno.EACCES)
            node.flags = node.flags._replace(read_only=True)

    @override
    async def close(self) -> None:
        self.client.leave()

    @override
    def cut(self) -> None:
        self.client.cut()

    @override
    def yank(self) -> None:
        self.client.yank()

    @override
    def cancel_in_flight(self) -> None:
        self.client.cancel_waiting()

    @override
    async def reopen_prepare(self, state: ReopenState) -> None:
        """Refuse to write to an export that is read-only."""
        if not state.flags.read_only and self._info.flags & ExportFlag.READ_ONLY:
            raise GenericError("Can't reopen read-only NBD mount as read/write")

    # Data

    @property
    def _info(self) -> ExportInfo:
        return self.client.info

    def limits(self) -> BlockLimits | None:
        """What the server can take in one request (``nbd_refresh_limits``)."""
        info = self._info
        smallest = info.min_block
        if not smallest:
            # to have the end of an odd image, or status of any area, takes single bytes
            any_byte = info.size % SECTOR != 0 or info.context is not None
            smallest = 1 if any_byte else SECTOR
        largest = min(MAX_BUFFER, info.max_block or MAX_BUFFER)
        extended = info.mode is Mode.EXTENDED
        return BlockLimits(
            request_alignment=smallest,
            max_transfer=largest,
            max_pwrite_zeroes=0 if extended else largest,
            max_pdiscard=0 if extended else INT_MAX // smallest * smallest,
        )

    @override
    def get_length(self) -> int:
        return self._info.size

    async def pread(self, offset: int, length: int) -> bytes:
        """Read; nodes end at a full sector, exports need not."""
        inside = max(0, min(length, self._info.size - offset))
        if not inside:
            return bytes(length)
        request = Request(Command.READ, offset, inside)
        await self.client.do(request)
        data = request.data
        return bytes(data) if len(data) == length else bytes(data).ljust(length, b"\0")

    async def pwrite(self, offset: int, data: bytes | memoryview, *, fua: bool = False) -> None:
        """Write; a server without FUA is told to flush."""
        if not data:
            return
        can_fua = bool(self._info.flags & ExportFlag.SEND_FUA)
        flags = CommandFlag.FUA if fua and can_fua else 0
        await self.client.do(Request(Command.WRITE, offset, len(data), flags), data)
        if fua and not can_fua:
            await self.flush()

    async def pwrite_zeroes(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        """Have the server write zeroes.

        :raises BlockIOError: ENOTSUP where it cannot
        """
        await self._zeroes(offset, length, 0 if may_unmap else CommandFlag.NO_HOLE)

    @override
    async def zero_fast(self, offset: int, length: int, *, may_unmap: bool = False) -> None:
        flags = 0 if may_unmap else CommandFlag.NO_HOLE
        await self._zeroes(offset, length, flags | CommandFlag.FAST_ZERO)

    async def _zeroes(self, offset: int, length: int, flags: int) -> None:
        if not self._info.flags & ExportFlag.SEND_WRITE_ZEROES:
            raise BlockIOError(errno.ENOTSUP)
        if length:
            await self.client.do(Request(Command.WRITE_ZEROES, offset, length, flags))

    def zeroes_without_fallback(self) -> bool:
        """Whether the server can tell when zeroes are no faster than a write."""
        fast = ExportFlag.SEND_WRITE_ZEROES | ExportFlag.SEND_FAST_ZERO
        return self._info.flags & fast == fast

    def zeroes_may_unmap(self) -> bool:
        """Whether the server writes zeroes at all."""
        return bool(self._info.flags & ExportFlag.SEND_WRITE_ZEROES)

    async def pdiscard(self, offset: int, length: int) -> None:
        """Trim, where the server does that."""
        if self._info.flags & ExportFlag.SEND_TRIM and length:
            await self.client.do(Request(Command.TRIM, offset, length))

    @override
    async def flush(self) -> None:
        if self._info.flags & ExportFlag.SEND_FLUSH:
            await self.client.do(Request(Command.FLUSH, 0, 0))

    async def block_status(self, offset: int, length: int) -> BlockStatus:
        """What the server says of the area (``nbd_client_co_block_status``)."""
        info = self._info
        if info.context is None:
            return BlockStatus(length, True, False, True, offset, self.node)
        smallest = max(1, info.min_block)
        start = offset - offset % smallest
        end = min(-(-(offset + length) // smallest) * smallest, info.size)
        if start >= end:
            return BlockStatus(length, data=False, zero=True, allocated=True)
        wanted = end - start
        if info.mode is not Mode.EXTENDED:
            wanted = min(wanted, INT_MAX // smallest * smallest)
        request = Request(Command.BLOCK_STATUS, start, wanted, CommandFlag.REQ_ONE)
        await self.client.do(request)
        assert request.extent is not None
        size, state = request.extent
        if self._bitmap == _DEPTH:
            state = min(state, 2)
        data, zero = not state & STATE_HOLE, bool(state & STATE_ZERO)
        size = min(size - (offset - start), length)
        return BlockStatus(size, data, zero, data or zero, offset, self.node)

    async def truncate(self, size: int, *, exact: bool, prealloc: str = "off") -> None:
        """Refuse: an export has its size."""
        if size != self._info.size and exact:
            raise BlockIOError(errno.ENOTSUP, "Cannot resize NBD nodes")
        if size > self._info.size:
            raise BlockIOError(errno.EINVAL, "Cannot grow NBD nodes")

    # What it tells

    def exact_filename(self) -> str | None:
        """A URI, where there is one that says it all (``nbd_refresh_filename``)."""
        server, export = self._server, self._export
        if server["type"] == "unix":
            path = server["path"]
            name = f"nbd+unix:///{export}?socket={path}" if export else f"nbd+unix://?socket={path}"
        elif server["type"] == "inet" and server.keys().isdisjoint(("ipv4", "ipv6", "to")):
            name = f"nbd://{server['host']}:{server['port']}" + (f"/{export}" if export else "")
        else:
            return None
        return name if len(name) < _LONGEST_NAME else None

    @override
    def directory(self) -> str:
        raise GenericError("Cannot generate a base directory for NBD nodes")


def _unusable(code: int) -> GenericError:
    """Why an export cannot be used: QEMU keeps no better reason."""
    return GenericError(f"Could not open image: {os.strerror(code)}")


def _cipher(node: Node, options: Mapping[str, Any]) -> Callable[[], Cipher]:
    """What makes the TLS session of a connection.

    :raises GenericError: there are no such credentials
    """
    credentials = node.services.credentials(options["tls-creds"], "client")
    server = options["server"]
    host = server["host"] if server["type"] == "inet" else None
    return partial(credentials.client, options.get("tls-hostname", host))
