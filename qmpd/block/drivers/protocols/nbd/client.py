"""Requests to a server, up to 16 at a time, and what becomes of them when it leaves."""

from __future__ import annotations

import errno
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from qmpd.block.drivers.protocols.nbd.export_info import ExportInfo
from qmpd.block.drivers.protocols.nbd.protocol import (
    EXTENDED_REQUEST,
    EXTENDED_REQUEST_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    Command,
    Mode,
)
from qmpd.block.drivers.protocols.nbd.replies import Broken, Replies, Request
from qmpd.errors import BlockIOError, QmpError
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.stream import Disconnected
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.block.drivers.protocols.nbd.connector import Connector, Link
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Handle

MOST: Final = 16
"""Requests that may be under way."""


class State(Enum):
    """What becomes of a request now (``NBDClientState``)."""

    WAITS = auto()
    """There is no connection, and requests wait for one."""
    FAILS = auto()
    """There is no connection, and requests fail, but for looking whether there is one again."""
    CONNECTED = auto()
    QUIT = auto()
    """The server has broken the protocol: there will be no connection again."""


class NbdClient:
    """The connection of one node.

    :param connector: makes connections
    :param accept: told of each export that was entered; raises QmpError to leave it again
    :param reconnect_delay: how long requests wait for another connection, seconds
    """

    def __init__(
        self,
        connector: Connector,
        clock: Clock,
        accept: Callable[[ExportInfo], None],
        *,
        reconnect_delay: int,
    ) -> None:
        self.info = ExportInfo()
        """The export, as it was when it was entered last."""
        self.state = State.WAITS
        self._connector = connector
        self._clock = clock
        self._accept = accept
        self._reconnect_delay = reconnect_delay
        self._link: Link | None = None
        self._replies: Replies | None = None
        self._requests: list[Request | None] = [None] * MOST
        self._in_flight = 0
        self._queue: list[Waiter] = []
        self._deadline: Handle | None = None

    # Its connection

    async def open(self, timeout: int) -> None:
        """Connect for the first time.

        :param timeout: how long to try, seconds; 0 to try once
        :raises QmpError: there is no connection
        """
        limit: Handle | None = None
        if timeout:
            self._connector.retries = True
            limit = self._clock.call_later(timeout * NANOSECONDS, self._connector.cancel)
        try:
            await self._establish(blocking=True)
        finally:
            if limit is not None:
                limit.cancel()
        self._connector.retries = True

    async def _establish(self, *, blocking: bool) -> None:
        """Connect (``nbd_co_do_establish_connection``).

        :raises QmpError: there is no connection, or the export is not what is needed
        """
        link = await self._connector.establish(blocking=blocking)
        self.info = link.info
        try:
            self._accept(link.info)
        except QmpError:
            _leave(link)
            raise
        self._link = link
        self._replies = Replies(link.stream, link.info, self._requests, self._failed)
        self.state = State.CONNECTED

    def leave(self) -> None:
        """Say goodbye to the server, and never connect again."""
        if self._link is not None:
            _leave(self._link)
            self._link = None
        self.cut()

    def cut(self) -> None:
        """Break the connection off without a word, and never connect again."""
        self.yank()
        self._forget_deadline()
        self._connector.release()

    def yank(self) -> None:
        """Break the connection off: all requests fail, now and later (``nbd_yank``)."""
        self.state = State.QUIT
        if self._link is not None:
            self._link.channel.cut()

    def cancel_waiting(self) -> None:
        """Let requests that wait for a connection fail (``nbd_cancel_in_flight``)."""
        self._forget_deadline()
        if self.state is State.WAITS:
            self.state = State.FAILS
        self._connector.cancel()

    def _failed(self, code: int) -> None:
        """The connection cannot be used any more (``nbd_channel_error``).

        :param code: EIO where another one may do
        """
        if self.state is State.CONNECTED and self._link is not None:
            self._link.channel.cut()
        if code != errno.EIO:
            self.state = State.QUIT
        elif self.state is State.CONNECTED:
            self.state = State.WAITS if self._reconnect_delay else State.FAILS

    async def _reconnect(self) -> None:
        """Look for a connection, as the only request that does (``nbd_reconnect_attempt``)."""
        waits = self.state is State.WAITS
        if waits and self._deadline is None:
            delay = self._reconnect_delay * NANOSECONDS
            self._deadline = self._clock.call_later(delay, self._give_up)
        self._link = None
        try:
            await self._establish(blocking=waits)
        except QmpError:
            pass
        finally:
            self._forget_deadline()

    def _give_up(self) -> None:
        self._deadline = None
        if self.state is State.WAITS:
            self.state = State.FAILS
            self._connector.cancel()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Requests

    async def do(self, request: Request, data: bytes | memoryview = b"") -> None:
        """Make a request, on as many connections as it takes.

        :param data: what a write writes
        :raises BlockIOError: the server refuses it, or there is no connection
        """
        while True:
            request.begin()
            try:
                await self._once(request, data)
            except Broken as error:
                if self.state is not State.WAITS:
                    raise BlockIOError(error.errno) from None
            else:
                break
        if request.error:
            raise BlockIOError(request.error)

    async def _once(self, request: Request, data: bytes | memoryview) -> None:
        """Make a request on the present connection.

        :raises Broken: that has failed
        """
        while self._in_flight == MOST or (
            self.state is not State.CONNECTED and self._in_flight > 0
        ):
            waiter = Waiter()
            self._queue.append(waiter)
            await waiter
        self._in_flight += 1
        try:
            if self.state in (State.WAITS, State.FAILS):
                await self._reconnect()
                self._wake(len(self._queue))
            if self.state is not State.CONNECTED:
                raise Broken(errno.EIO)
            await self._exchange(request, data)
        finally:
            self._in_flight -= 1
            self._wake(1)

    async def _exchange(self, request: Request, data: bytes | memoryview) -> None:
        link, replies = self._link, self._replies
        assert link is not None
        assert replies is not None
        place = self._requests.index(None)
        self._requests[place] = request
        request.cookie = place + 1
        try:
            header = _header(
                self.info.mode,
                request.flags,
                request.command,
                request.cookie,
                request.offset,
                request.length,
            )
            await link.stream.write(header + data if data else header)
            await replies.receive(request)
        except Disconnected:
            self._failed(errno.EIO)
            raise Broken(errno.EIO) from None
        finally:
            self._requests[place] = None

    def _wake(self, count: int) -> None:
        woken, self._queue = self._queue[:count], self._queue[count:]
        for waiter in woken:
            waiter.wake()


def _header(mode: Mode, flags: int, command: int, cookie: int, offset: int, length: int) -> bytes:
    fields = (flags, command, cookie, offset, length)
    if mode is Mode.EXTENDED:
        return EXTENDED_REQUEST.pack(EXTENDED_REQUEST_MAGIC, *fields)
    return REQUEST.pack(REQUEST_MAGIC, *fields)


def _leave(link: Link) -> None:
    """Say goodbye (NBD_CMD_DISC), without waiting, and hang up."""
    try:
        link.stream.send(_header(link.info.mode, 0, Command.DISC, 0, 0, 0))
    except Disconnected:
        return
    finally:
        link.channel.cut()
