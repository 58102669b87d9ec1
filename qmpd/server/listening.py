"""Sockets that listen, and the files of unix sockets.

The texts of the errors are those of QEMU's qemu-sockets.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Final, NamedTuple

from qmpd.errors import GenericError
from qmpd.server.address import FdAddress, InetAddress, SocketAddress, UnixAddress

BACKLOG: Final = 1
"""Connections that may wait while a client is served (the kernel adds one)."""


class Manners(NamedTuple):
    """How the file of a unix socket comes to be.

    :param replaces_files: whether whatever lies at its path makes place for it, as with QEMU
        (`unix_listen_saddr`); otherwise a socket does that nobody listens at, and nothing else
    :param mode: permission bits, where the address names none; None: the umask's
    """

    replaces_files: bool
    mode: int | None


CAREFUL: Final = Manners(replaces_files=False, mode=0o600)
"""Those of qmpd's own programs: whoever may speak QMP may read and write every image."""

_Identity = tuple[int, int]
"""What tells a file from another one of the same name: device and inode."""


class Listening:
    """The sockets that listen at an address: several where a name has several addresses.

    :raises GenericError: with QEMU's text
    """

    def __init__(self, address: SocketAddress, manners: Manners = CAREFUL) -> None:
        self._manners = manners
        self._file: bytes | None = None
        self._identity: _Identity | None = None
        self.sockets: list[socket.socket]
        if isinstance(address, UnixAddress):
            self.sockets = [_listen_unix(address, manners)]
            if not address.abstract:
                # the process may leave its directory meanwhile
                self._file = os.path.abspath(address.file)
                self._identity = _identity(self._file)
        elif isinstance(address, FdAddress):
            self.sockets = [_listen_fd(address)]
        else:
            self.sockets = _listen_inet(address)

    def close(self, *, keeps_file: bool = False, takes_inherited: bool = False) -> None:
        """Listen no more; the file of a unix socket goes, but not one that has taken its place.

        :param keeps_file: whether it stays
        :param takes_inherited: whether that of an inherited socket goes, too, where QEMU's
            manners are asked for
        """
        sockets, self.sockets = self.sockets, []
        if sockets and takes_inherited and self._manners.replaces_files and self._file is None:
            self._adopt_file(sockets[0])
        for listener in sockets:
            with suppress(OSError):
                listener.close()
        if sockets and not keeps_file and self._file is not None:
            with suppress(OSError):
                if _identity(self._file) == self._identity:
                    os.unlink(self._file)

    def _adopt_file(self, listener: socket.socket) -> None:
        name = listener.getsockname()
        if listener.family == socket.AF_UNIX and isinstance(name, str) and name:
            self._file = os.fsencode(name)
            self._identity = _identity(self._file)


def _identity(path: bytes) -> _Identity | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _listen_unix(address: UnixAddress, manners: Manners) -> socket.socket:
    sockaddr = address.sockaddr
    if not address.abstract:
        if not manners.replaces_files:
            _refuse_what_lives(address)
        _make_place(address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mode = manners.mode if address.mode is None else address.mode
    previous = None if mode is None else os.umask(~mode & 0o777)
    try:
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise GenericError(f"Failed to bind socket to {address.path}: {error.strerror}") from None
    finally:
        if previous is not None:
            os.umask(previous)
    return sock


def _refuse_what_lives(address: UnixAddress) -> None:
    """Refuse a path that has anything but a socket that nobody listens at."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(address.file).st_mode)
    except OSError:
        return  # whatever is wrong, bind tells
    if not is_socket:
        why = "what is there is no socket, and qmpd replaces nothing else"
    elif not _is_dead(address.file):
        why = "somebody seems to listen there"
    else:
        return
    in_use = os.strerror(errno.EADDRINUSE)
    raise GenericError(f"Failed to bind socket to {address.path}: {in_use} ({why})")


def _is_dead(path: bytes) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _make_place(address: UnixAddress) -> None:
    try:
        os.unlink(address.file)
    except OSError as error:
        # a missing directory is reported by bind
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise GenericError(
                f"Failed to unlink socket {address.path}: {error.strerror}"
            ) from None


def _listen_fd(address: FdAddress) -> socket.socket:
    sock = address.take()
    try:
        sock.listen(BACKLOG)
    except OSError as error:
        raise GenericError(f"Failed to listen on fd socket: {error.strerror}") from None
    return sock


def _listen_inet(address: InetAddress) -> list[socket.socket]:
    candidates = address.resolve(passive=True)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, sockaddr in candidates:
        if sockets and not address.host:
            # an ephemeral port must be the same on every loopback address
            sockaddr = (sockaddr[0], sockets[0].getsockname()[1], *sockaddr[2:])
        try:
            sockets.append(_bind_in_range(family, sockaddr, address.to))
        except OSError as error:
            failure = error
    if not sockets:
        assert failure is not None
        raise GenericError(f"Failed to find an available port: {failure.strerror}")
    return sockets


def _bind_in_range(family: int, sockaddr: tuple[object, ...], last: int | None) -> socket.socket:
    first = int(str(sockaddr[1]))
    for port in range(first, max(first, last or 0) + 1):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((sockaddr[0], port, *sockaddr[2:]))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE or port >= (last or 0):
                raise
        else:
            return sock
    raise AssertionError("the last port either bound or raised")
