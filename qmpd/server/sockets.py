"""Sockets that a machine's clients ask for: where they may be, and what becomes of their files."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from qmpd.block.images.host_files import OutOfReachError
from qmpd.errors import GenericError
from qmpd.machine.socket_names import named_descriptor
from qmpd.monitor.descriptors import Descriptors
from qmpd.server import address as addresses
from qmpd.server.address import FdAddress, SocketAddress, UnixAddress
from qmpd.server.listening import CAREFUL, Listening, Manners

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from qmpd.block.images import HostFiles
    from qmpd.machine.machine import Machine


class Sockets:
    """Those that the owner of a process asks for: they may be anywhere.

    :param manners: how files of unix sockets come to be
    """

    def __init__(self, manners: Manners = CAREFUL) -> None:
        self.manners = manners

    def listen(self, address: SocketAddress) -> Listening:
        """Listen at `address`.

        :raises GenericError: with QEMU's text
        """
        return Listening(address, self.manners)

    def connect(self, address: SocketAddress, *, wait: bool = True) -> socket.socket:
        """Connect to `address`: see `qmpd.server.address.connect`."""
        return addresses.connect(address, wait=wait)

    def check(self, address: SocketAddress | None) -> None:
        """Check that something may be sent to a place.

        :param address: None where it is another place than these
        :raises GenericError: it may not
        """


class ClientSockets(Sockets):
    """Those that clients of a machine ask for: they may be where `Access` allows it.

    :param machine: the machine
    """

    def __init__(self, machine: Callable[[], Machine], manners: Manners = CAREFUL) -> None:
        super().__init__(manners)
        self._machine = machine
        # what the owner has named, and may be connected to again
        self._named: set[SocketAddress] = set()

    @property
    def _files(self) -> HostFiles:
        return self._machine().services.storage.host

    def listen(self, address: SocketAddress) -> Listening:
        """Listen at `address`, if that is allowed.

        :raises GenericError: with QEMU's text, or it is out of reach
        """
        try:
            self._check(address)
        except OutOfReachError as error:
            where = address.path if isinstance(address, UnixAddress) else str(address)
            raise GenericError(f"Failed to bind socket to {where}: {error.strerror}") from None
        return Listening(address, self.manners)

    def connect(self, address: SocketAddress, *, wait: bool = True) -> socket.socket:
        """Connect to `address`, if that is allowed.

        :raises GenericError: with QEMU's text, or it is out of reach
        """
        self.check(address)
        return addresses.connect(address, wait=wait)

    def check(self, address: SocketAddress | None) -> None:
        """Check that `address` may be connected to.

        Where files of the host are out of reach, a path that has no socket has nothing at all.

        :raises GenericError: it may not
        """
        where = address.path if isinstance(address, UnixAddress) else str(address or "")
        try:
            self._check(address)
        except OutOfReachError as error:
            raise GenericError(f"Failed to connect to '{where}': {error.strerror}") from None
        if isinstance(address, UnixAddress) and self._hides(address):
            reason = os.strerror(errno.ENOENT)
            raise GenericError(f"Failed to connect to '{where}': {reason}")

    def _check(self, address: SocketAddress | None) -> None:
        if address is not None and self._files.is_naming:
            self._named.add(address)
        if address in self._named:
            return
        if isinstance(address, FdAddress):
            if address.handed_over is None:
                self._files.check_descriptor()
            return
        path = None
        if isinstance(address, UnixAddress) and not address.abstract:
            path = address.path
        self._files.check_socket(path)

    def _hides(self, address: UnixAddress) -> bool:
        if address.abstract or not self._files.hides:
            return False
        try:
            return not stat.S_ISSOCK(os.stat(address.file).st_mode)
        except OSError:
            return True

    def read(self, options: Mapping[str, Any]) -> SocketAddress:
        """A SocketAddress of QAPI; descriptors that clients name are those that getfd gave them.

        :raises GenericError: nobody has given it one
        """
        address = addresses.read_address(options)
        if isinstance(address, FdAddress) and address.handed_over is None:
            machine = self._machine()
            if machine.services.storage.host.is_naming:
                return address
            # there is no monitor here, whose clients could have handed one over
            named_descriptor(machine.personality, address.fd, Descriptors().take)
        return address
