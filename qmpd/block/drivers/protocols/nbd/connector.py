"""Connections to a server, made in the background and again and again (nbd/client-connection.c)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.drivers.protocols.nbd.handshake import Handshake
from qmpd.errors import GenericError, NotServed, QmpError
from qmpd.loop.clock import NANOSECONDS
from qmpd.loop.secure import SecureChannel
from qmpd.loop.stream import Channel, Disconnected
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.block.drivers.protocols.nbd.export_info import ExportInfo
    from qmpd.block.drivers.protocols.nbd.handshake import Wanted
    from qmpd.block.drivers.protocols.nbd.options import Stream
    from qmpd.block.model.services import Services
    from qmpd.loop.secure import Cipher
    from qmpd.loop.stream import Peer
    from qmpd.loop.task import Handle, Task

_FIRST_PAUSE: Final = 1
"""Seconds before the second attempt; each further pause is twice as long."""

_LONGEST_PAUSE: Final = 16


@dataclass(frozen=True, slots=True)
class Link:
    """A connection that has entered the export.

    `stream` is what requests go by, `channel` the connection below it.
    """

    channel: Channel
    stream: Stream
    info: ExportInfo


class _Dialing:
    """One attempt to reach the server."""

    def __init__(self, services: Services, address: Mapping[str, Any]) -> None:
        self._clock = services.loop
        self._settled = Waiter()
        self._channel: Channel | None = None
        self._failure: QmpError | None = None
        self._attempt: Handle = services.connect(address, self._connected, self._failed)

    def _connected(self, peer: Peer) -> Channel:
        self._channel = Channel(peer, self._clock)
        self._settled.wake()
        return self._channel

    def _failed(self, error: QmpError) -> None:
        self._failure = error
        self._settled.wake()

    async def channel(self) -> Channel:
        """Wait for the connection.

        :raises QmpError: there is none
        """
        try:
            await self._settled
        except BaseException:
            self._attempt.cancel()
            if self._channel is not None:
                self._channel.cut()
            raise
        if self._failure is not None:
            raise self._failure
        assert self._channel is not None
        return self._channel


class Connector:
    """Makes connections to one server, one at a time.

    :param address: SocketAddress, plain JSON values
    :param wanted: what it is asked for
    :param cipher: makes the TLS session of a connection; None for none
    """

    def __init__(
        self,
        services: Services,
        address: Mapping[str, Any],
        wanted: Wanted,
        cipher: Callable[[], Cipher] | None,
    ) -> None:
        self.retries = False
        """Whether an attempt that fails is followed by another one."""
        self._services = services
        self._address = address
        self._wanted = wanted
        self._cipher = cipher
        self._task: Task | None = None
        self._link: Link | None = None
        self._error: QmpError | None = None
        self._waiting: Waiter | None = None

    async def establish(self, *, blocking: bool) -> Link:
        """Have a connection (``nbd_co_establish_connection``).

        :param blocking: whether to wait for it; otherwise one that has been made in the
            background will do
        :raises QmpError: there is none, or `cancel` was called
        """
        if self._task is None and self._link is None:
            self._start()
        if self._link is not None:
            return self._take()
        if not blocking:
            raise self._error or GenericError("No connection at the moment")
        if self._task is not None:
            self._waiting = Waiter()
            await self._waiting
        if self._task is not None:
            raise self._error or GenericError("Connection attempt cancelled by timeout")
        if self._link is not None:
            return self._take()
        raise self._error or GenericError("Connection attempt cancelled by timeout")

    def _take(self) -> Link:
        assert self._link is not None
        link, self._link = self._link, None
        return link

    def cancel(self) -> None:
        """Let who waits for a connection wait no longer; the attempt goes on."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.wake()

    def release(self) -> None:
        """Make no more connections."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._link is not None:
            self._take().channel.cut()

    def _start(self) -> None:
        loop = self._services.loop
        ended: list[Task] = []

        def done(task: Task) -> None:
            ended.append(task)
            self._task = None
            self.cancel()

        task = loop.enter(self._attempts(), "nbd connect", done)
        if not ended:
            self._task = task

    async def _attempts(self) -> None:
        """Connect (``connect_thread_func``)."""
        pause = _FIRST_PAUSE
        while True:
            try:
                self._link = await self._attempt()
            except NotServed as error:
                self._error = error
                return
            except QmpError as error:
                self._error = error
            else:
                self._error = None
                return
            if not self.retries:
                return
            await self._services.clocks.realtime.sleep(pause * NANOSECONDS)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _attempt(self) -> Link:
        channel = await _Dialing(self._services, self._address).channel()
        encrypt = None if self._cipher is None else partial(_encrypt, channel, self._cipher)
        handshake = Handshake(channel, self._wanted, encrypt)
        try:
            info = await handshake.run()
        except BaseException:
            channel.cut()
            raise
        return Link(channel, handshake.stream, info)


async def _encrypt(channel: Channel, cipher: Callable[[], Cipher]) -> SecureChannel:
    """Go over to TLS.

    :raises QmpError: the server cannot, or is not whom it should be
    """
    secure = SecureChannel(channel, cipher())
    try:
        await secure.shake_hands()
    except Disconnected:
        raise GenericError("TLS handshake failed: Broken pipe") from None
    return secure
