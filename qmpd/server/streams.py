"""Streams of migrations: sockets, files, descriptors, and programs that are run."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from qmpd.block.images.storage import FDSET_PREFIX
from qmpd.errors import GenericError, NotServed
from qmpd.loop.task import Timer
from qmpd.server import address as addresses
from qmpd.server.descriptor_peer import DescriptorPeer
from qmpd.server.dial import Attempt
from qmpd.server.letting_in import Door

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    from qmpd.base.descriptor import Descriptor
    from qmpd.block.images import Storages
    from qmpd.errors import QmpError
    from qmpd.loop.task import Handle
    from qmpd.machine.host import OpenStream
    from qmpd.server.address import SocketAddress
    from qmpd.server.listening import Listening
    from qmpd.server.sockets import ClientSockets


class Streams:
    """Opens streams, and waits for them.

    :param sockets: makes those that clients ask for
    :param storage: has the files that clients may reach, and descriptors that they have handed over
    :param warn: takes warnings
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        sockets: ClientSockets,
        storage: Callable[[], Storages],
        warn: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._storage = storage
        self._warn = warn

    def open(
        self,
        address: Mapping[str, Any],
        connect: OpenStream,
        failed: Callable[[QmpError], None],
    ) -> Handle:
        """See `Host.open_stream`."""
        transport = address["transport"]
        if transport == "socket" and address["type"] == "fd":
            self._adopt(address).connect(connect)
        elif transport == "socket":
            return self._dial(self._sockets.read(address), connect, failed)
        elif transport == "exec":
            self._run(address["args"]).connect(connect)
        elif transport == "file":
            self._create(address["filename"], address["offset"]).connect(connect)
        else:
            raise NotServed("Migration over RDMA is not served by qmpd")
        return Timer(_nothing)

    def _dial(
        self, address: SocketAddress, connect: OpenStream, failed: Callable[[QmpError], None]
    ) -> Handle:
        def connected(sock: socket.socket) -> None:
            _socket_peer(self._loop, sock).connect(connect)

        # the command is answered before it is known how that ends
        attempt = Attempt(
            self._loop,
            self._sockets,
            lambda sock: self._later(connected, sock),
            lambda error: self._later(failed, error),
        )
        attempt.begin(address)
        return attempt

    def _later(self, callback: Callable[[Any], None], what: object) -> None:
        self._loop.call_soon(callback, what)

    def _adopt(self, address: Mapping[str, Any]) -> DescriptorPeer:
        """The descriptor that an address names: handed over by a client, or inherited."""
        given: Descriptor | None = address.get("descriptor")
        fd = self._inherited(address["str"]) if given is None else given.detach()
        mode = os.fstat(fd).st_mode
        is_socket = stat.S_ISSOCK(mode)
        if not is_socket and not stat.S_ISFIFO(mode):
            self._warn("fd: migration to a file is deprecated. Use file: instead.")
        return DescriptorPeer(self._loop, fd, fd, "socket" if is_socket else "file")

    def _create(self, filename: str, offset: int) -> DescriptorPeer:
        fd, left = self._open(filename, os.O_CREAT | os.O_WRONLY, "create")
        try:
            os.ftruncate(fd, offset)
            os.lseek(fd, offset, os.SEEK_SET)
        except OSError as error:
            os.close(fd)
            left()
            raise GenericError(
                f"failed to truncate migration file to offset {offset:x}: {error.strerror}"
            ) from None
        return DescriptorPeer(self._loop, None, fd, "file", left)

    def _open(self, filename: str, flags: int, verb: str) -> tuple[int, Callable[[], None]]:
        """Open a file (``qio_channel_file_new_path``).

        :returns: its descriptor, and what is to be called when it has been closed
        """
        if filename.startswith(FDSET_PREFIX):
            return self._storage().fdsets.open(filename, flags)
        try:
            return self._storage().host.open(filename, flags, 0o600), _nothing
        except OSError as error:
            raise GenericError(f"Could not {verb} '{filename}': {error.strerror}") from None

    def wait(self, address: Mapping[str, Any], connect: OpenStream) -> _Arrivals | _Arrival:
        """See `Host.await_stream`."""
        transport = address["transport"]
        if transport == "socket" and address["type"] == "fd":
            return _Arrival(self._loop, self._adopt(address), connect)
        if transport == "socket":
            listening = self._sockets.listen(self._sockets.read(address))
            return _Arrivals(self._loop, listening, connect)
        if transport == "exec":
            return _Arrival(self._loop, self._run(address["args"]), connect)
        if transport == "file":
            fd, left = self._open(address["filename"], os.O_RDONLY, "open")
            if address["offset"]:
                os.lseek(fd, address["offset"], os.SEEK_SET)
            peer = DescriptorPeer(self._loop, fd, None, "file", left)
            return _Arrival(self._loop, peer, connect)
        raise NotServed("Migration over RDMA is not served by qmpd")

    def _inherited(self, name: str) -> int:
        """The descriptor of this number (``monitor_fd_param``).

        :raises GenericError: there is none, or it may belong to somebody else
        """
        try:
            fd = int(name)
            self._storage().host.check_descriptor()
            os.fstat(fd)
        except (ValueError, OverflowError):
            raise GenericError(f"Invalid file descriptor number '{name}'") from None
        except OSError as error:
            raise GenericError(f"File descriptor {name}: {error.strerror}") from None
        return fd

    def _run(self, args: list[str]) -> DescriptorPeer:
        """Run a program; its standard input and output are the stream."""
        try:
            self._storage().host.check_program()
            process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise GenericError(f"Unable to spawn command: {reason}") from None
        assert process.stdin is not None
        assert process.stdout is not None
        read_fd, write_fd = os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
        process.stdout.close()
        process.stdin.close()

        def reap() -> None:
            # it may take its time to end, and nobody waits for it
            threading.Thread(target=process.wait, daemon=True).start()

        return DescriptorPeer(self._loop, read_fd, write_fd, "command", reap)


def _nothing() -> None:
    """What has been done at once cannot be called off."""


class _Arrival:
    """A stream that comes from one place, and begins when its first bytes are there.

    One that ends without any never begins, where it comes from a program or a pipe.
    """

    def __init__(self, loop: AbstractEventLoop, peer: DescriptorPeer, connect: OpenStream) -> None:
        self.addresses: list[dict[str, Any]] = []
        self._peer = peer
        # not before the command that waits for it has been answered
        loop.call_soon(peer.connect_when_readable, connect)

    def close(self) -> None:
        """Wait no more."""
        self._peer.close()

    end = close


class _Arrivals:
    """Sockets that a stream arrives at."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        listening: Listening,
        connect: OpenStream,
    ) -> None:
        self._loop = loop
        self._connect = connect
        self._listening = listening
        self.addresses = [addresses.info(sock) for sock in listening.sockets]
        self._door = Door(loop, self._accept, self._listening.sockets)
        self._door.open()

    def _accept(self, sock: socket.socket) -> None:
        _socket_peer(self._loop, sock).connect(self._connect)

    def close(self) -> None:
        """Let nobody in any more; a socket's file goes."""
        self._stop(keeps_file=False)

    def end(self) -> None:
        """Let nobody in any more; a socket's file stays."""
        self._stop(keeps_file=True)

    def _stop(self, *, keeps_file: bool) -> None:
        self._door.close_for_good()
        self._listening.close(keeps_file=keeps_file, takes_inherited=True)
        self.addresses = []


def _socket_peer(loop: AbstractEventLoop, sock: socket.socket) -> DescriptorPeer:
    fd = sock.detach()
    return DescriptorPeer(loop, fd, fd, "socket")
