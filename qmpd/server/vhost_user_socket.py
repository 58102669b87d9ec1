"""Sockets of vhost-user exports: one client at a time, its messages, kicks and requests."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.export.vhost_user.link import Link
from qmpd.export.vhost_user.protocol import HEADER, MAX_FDS, MAX_PAYLOAD, Message
from qmpd.loop.task import Waiter
from qmpd.server.broken_off import watch_on
from qmpd.server.letting_in import Door

if TYPE_CHECKING:
    from qmpd.export.vhost_user.device import MakeDevice
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Task
    from qmpd.server.address import SocketAddress
    from qmpd.server.sockets import Sockets


class VhostUserSocket:
    """A listening socket (`qmpd.export.host.VhostUserListener`).

    :param address: where it listens
    :param device: makes the device that serves a client
    :param report: takes complaints about clients
    :param sockets: makes the socket
    :raises GenericError: it cannot listen there
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        address: SocketAddress,
        device: MakeDevice,
        report: Callable[[str], None],
        sockets: Sockets,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.device = device
        self.report = report
        self._listening = sockets.listen(address)
        self._client: _Connection | None = None
        self._ending = False
        self._door = Door(loop, self._accept, self._listening.sockets)
        self._door.open()

    def _accept(self, sock: socket.socket) -> None:
        self._door.close()
        sock.setblocking(False)
        self._client = _Connection(self, sock)

    def left(self) -> None:
        """The client has gone: the next one may come."""
        self._client = None
        if not self._ending:
            self._door.open()

    def config_changed(self) -> None:
        """Tell the client that the device's configuration is another one."""
        if self._client is not None:
            self._client.device.config_changed()

    async def close(self) -> None:
        """Listen no more, and cut the client off once its requests are done."""
        self._ending = True
        self._door.close_for_good()
        self._listening.close(takes_inherited=True)
        if self._client is not None:
            await self._client.close()


class _Connection(Link):
    """A client; it is gone when its requests are done."""

    def __init__(self, listener: VhostUserSocket, sock: socket.socket) -> None:
        self._listener = listener
        self._loop = listener.loop
        self._sock = sock
        self._head = b""
        self._message: Message | None = None
        self._size = 0
        self._fds: list[int] = []
        self._unsent = b""
        self._requests = 0
        self._ending = False
        self._gone = Waiter()
        self.device = listener.device(self)
        self._loop.add_reader(sock.fileno(), self._readable)

    # What the device needs (`Link`)

    @override
    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        self._loop.add_reader(fd, callback)

    @override
    def unwatch(self, fd: int) -> None:
        self._loop.remove_reader(fd)

    @override
    def later(self, callback: Callable[[], None]) -> None:
        self._listener.clock.call_soon(callback)

    @override
    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self._requests += 1
        self._listener.clock.enter(work, "vhost-user request", self._request_done)

    @override
    def cut(self) -> None:
        if self._ending:
            return
        self._ending = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self.device.stop()
        if not self._requests:
            # Not within a call of the device, which still works with what this gives back.
            self._loop.call_soon(self._end)

    # Messages

    def _readable(self) -> None:
        try:
            message = self._receive()
        except BlockingIOError:
            return
        except OSError:
            self.cut()
            return
        if message is not None:
            reply = self.device.handle(message)
            if reply is not None:
                self._unsent += reply.encode()
                self._writable()
            if self.device.broken:
                self.cut()
        if not self._ending and not self._unsent:
            watch_on(self._loop, self._sock.fileno(), self._readable)

    def _receive(self) -> Message | None:
        """The next message; None while there is only a part of it.

        :raises OSError: there is none any more, or it is too long
        """
        if len(self._head) < HEADER.size:
            room = HEADER.size - len(self._head)
            part, fds, _, _ = socket.recv_fds(self._sock, room, MAX_FDS + 1)
            self._fds += fds
            if len(self._fds) > MAX_FDS:
                self._listener.report(
                    f"A maximum of {MAX_FDS} fds are allowed, however got {len(self._fds)} fds now"
                )
                raise ConnectionAbortedError
            if not part:
                raise ConnectionResetError
            self._head += part
            if len(self._head) < HEADER.size:
                return None
            request, flags, self._size = HEADER.unpack(self._head)
            if self._size > MAX_PAYLOAD:
                self._listener.report(
                    f"Error: too big message request: {request}, size: vmsg->size: {self._size},"
                    f" while sizeof(vmsg->payload) = {MAX_PAYLOAD}"
                )
                raise ConnectionAbortedError
            self._message, self._fds = Message(request, flags, b"", self._fds), []
        message = self._message
        assert message is not None
        if len(message.payload) < self._size:
            part = self._sock.recv(self._size - len(message.payload))
            if not part:
                raise ConnectionResetError
            message.payload += part
            if len(message.payload) < self._size:
                return None
        self._head, self._message = b"", None
        return message

    def _writable(self) -> None:
        """Send what is to be sent; nothing is read as long as the client does not take it."""
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.remove_reader(self._sock.fileno())
            self._loop.add_writer(self._sock.fileno(), self._writable)
        elif self._loop.remove_writer(self._sock.fileno()):
            self._loop.add_reader(self._sock.fileno(), self._readable)

    # Its end

    def _request_done(self, task: Task) -> None:
        self._requests -= 1
        if task.error is not None:
            self._loop.call_exception_handler(
                {"message": "a vhost-user request failed", "exception": task.error}
            )
            self.cut()
        if self._ending and not self._requests:
            self._end()

    def _end(self) -> None:
        if self._gone.done:
            return
        self.device.close()
        if self._message is not None:
            self._message.close_fds()
        for fd in self._fds:
            os.close(fd)
        self._sock.close()
        self._listener.left()
        self._gone.wake()

    async def close(self) -> None:
        """Cut the client off, and wait until its requests are done."""
        self.cut()
        await self._gone
