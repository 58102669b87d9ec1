"""Socket addresses as QAPI's SocketAddress has them: read, connect, print.

The texts of the errors are those of QEMU's qemu-sockets.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from qmpd.base.descriptor import Descriptor, DescriptorName
from qmpd.errors import GenericError, NotServed

_UNIX_PATH_MAX: Final = 107


class UnixAddress(NamedTuple):
    """A unix socket; `abstract` puts the name into Linux's abstract namespace.

    :param tight: an abstract name ends with its last character, not with padding zeroes
    :param mode: permission bits of the socket file; the umask's where None
    """

    path: str
    abstract: bool = False
    tight: bool = True
    mode: int | None = None

    def __str__(self) -> str:
        suffix = ""
        if self.abstract:
            suffix = ",abstract=on" + (",tight=on" if self.tight else "")
        return f"unix:{self.path}{suffix}"

    @property
    def file(self) -> bytes:
        """The path as the system sees it; a character 0 is two bytes there, as QEMU has them."""
        return os.fsencode(self.path).replace(b"\0", b"\xc0\x80")

    @property
    def sockaddr(self) -> str | bytes:
        """What bind and connect take.

        :raises GenericError: the path is too long for a socket address
        """
        file = self.file
        if len(file) > _UNIX_PATH_MAX:
            raise GenericError(
                f"UNIX socket path '{self.path}' is too long",
                f"Path must be less than {_UNIX_PATH_MAX + 1} bytes",
            )
        if not self.abstract:
            return file
        name = b"\0" + file
        return name if self.tight else name.ljust(_UNIX_PATH_MAX + 1, b"\0")


NOT_KNOWN: Final = "Name or service not known"


def look_up(
    host: str | None, port: str | None, family: int, kind: int, flags: int
) -> list[tuple[int, tuple[object, ...]]]:
    """Families and addresses of a host and a port, as the system's resolver knows them.

    :raises socket.gaierror: it knows none; for names that Python would not even ask for, too
    """
    if port is not None and "\0" in port:
        # the resolver would see what is before it
        message = "Servname not supported for ai_socktype"
        raise socket.gaierror(socket.EAI_SERVICE, message)
    try:
        found = socket.getaddrinfo(host, port, family, kind, 0, flags)
    except (UnicodeError, ValueError):
        raise socket.gaierror(socket.EAI_NONAME, NOT_KNOWN) from None
    return [(int(entry[0]), tuple(entry[4])) for entry in found]


class InetAddress(NamedTuple):
    """A TCP address; `to` is the last port to try when listening.

    An empty host means loopback when listening, as when connecting: QEMU would
    listen on every interface, which a monitor must be told explicitly here.
    """

    host: str
    port: str
    to: int | None = None
    ipv4: bool | None = None
    ipv6: bool | None = None
    nodelay: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"

    def _unresolved(self, reason: str) -> GenericError:
        return GenericError(f"address resolution failed for {self.host}:{self.port}: {reason}")

    def resolve(self, *, passive: bool) -> list[tuple[int, tuple[object, ...]]]:
        """Families and socket addresses to try, in order.

        :raises GenericError: the name or the port is not known
        """
        family = socket.AF_UNSPEC
        if (self.ipv4 and self.ipv6 is None) or self.ipv6 is False:
            family = socket.AF_INET
        if (self.ipv6 and self.ipv4 is None) or self.ipv4 is False:
            family = socket.AF_INET6
        # the name of none, which nobody knows
        nobody = "\0" if not self.host and not passive else None
        host = self.host or nobody or ("localhost" if self.port else None)
        port = self.port or (None if not self.host else "0")
        flags = socket.AI_PASSIVE if passive else 0
        try:
            return look_up(host, port, family, socket.SOCK_STREAM, flags)
        except socket.gaierror as error:
            raise self._unresolved(error.strerror or NOT_KNOWN) from None


class FdAddress(NamedTuple):
    """A descriptor that was inherited, by number, or that a client has handed over.

    :param handed_over: the latter, of which `fd` is the name
    """

    fd: str
    handed_over: Descriptor | None = None

    def __str__(self) -> str:
        return f"fd:{self.fd}"

    def take(self) -> socket.socket:
        """The socket behind the number.

        :raises GenericError: it is no number, or no socket
        """
        if self.handed_over is not None:
            return self._take_over(self.handed_over)
        try:
            number = int(self.fd)
        except ValueError:
            raise GenericError(f"Unable to parse FD number {self.fd}") from None
        if not -(1 << 31) <= number < 1 << 31:
            reason = os.strerror(errno.ERANGE)
            raise GenericError(f"Unable to parse FD number {self.fd}: {reason}")
        try:
            is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        except OSError:
            is_socket = False
        if not is_socket:
            raise GenericError(f"File descriptor '{self.fd}' is not a socket")
        return socket.socket(fileno=number)

    def _take_over(self, descriptor: Descriptor) -> socket.socket:
        number = descriptor.number
        if number is None or not stat.S_ISSOCK(os.fstat(number).st_mode):
            descriptor.close()
            raise GenericError(f"File descriptor '{self.fd}' is not a socket")
        return socket.socket(fileno=descriptor.detach())


SocketAddress = UnixAddress | InetAddress | FdAddress


def read_address(options: Mapping[str, Any], *, nodelay: bool = False) -> SocketAddress:
    """A SocketAddress of QAPI.

    :param options: its members, plain JSON values; ``descriptor``, a `Descriptor`, is that of
        which ``str`` is the name
    :param nodelay: whether packets of TCP are sent at once, however small
    :raises NotServed: it is of type vsock
    :raises GenericError: there is no descriptor of that name
    """
    if options["type"] == "unix":
        tight = options.get("tight", True)
        abstract = options.get("abstract", False)
        return UnixAddress(options["path"], abstract=abstract, tight=tight)
    if options["type"] == "fd":
        name = options["str"]
        if isinstance(name, DescriptorName):
            return FdAddress(name, name.take())
        return FdAddress(name, options.get("descriptor"))
    if options["type"] != "inet":
        raise NotServed(f"Socket addresses of type '{options['type']}' are not served by qmpd")
    return InetAddress(
        str(options["host"]),
        # a number in the options of a json: name
        str(options["port"]),
        to=options.get("to"),
        ipv4=options.get("ipv4"),
        ipv6=options.get("ipv6"),
        nodelay=nodelay,
    )


def is_listening(sock: socket.socket) -> bool:
    """Whether a socket accepts connections (SO_ACCEPTCONN)."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def connect(address: SocketAddress, *, wait: bool = True) -> socket.socket:
    """A socket connected to `address`, or the inherited one.

    :param wait: whether to wait for a unix socket whose server is busy
    :raises GenericError: with QEMU's text
    :raises BlockingIOError: it would have to wait
    """
    if isinstance(address, FdAddress):
        return address.take()
    if isinstance(address, UnixAddress):
        name = address.sockaddr
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(wait)
        try:
            # to the kernel an empty path is the abstract name of nothing but zeroes
            sock.connect(name or bytes(_UNIX_PATH_MAX))
        except BlockingIOError:
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise GenericError(f"Failed to connect to '{address.path}': {error.strerror}") from None
        return sock
    failure: OSError | None = None
    for family, sockaddr in address.resolve(passive=False):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.connect(sockaddr)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    assert failure is not None
    raise GenericError(f"Failed to connect to '{address.host}:{address.port}': {failure.strerror}")


def describe(sock: socket.socket, *, peer: bool) -> str:
    """``HOST:PORT`` of a TCP socket's end."""
    host, port = (sock.getpeername() if peer else sock.getsockname())[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def info(sock: socket.socket) -> dict[str, Any]:
    """SocketAddress of a socket that listens (``qio_channel_socket_get_local_address``)."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        if isinstance(name, bytes):
            return {"path": os.fsdecode(name[1:]), "abstract": True, "type": "unix"}
        return {"path": name, "type": "unix"}
    version = "ipv6" if sock.family == socket.AF_INET6 else "ipv4"
    return {"type": "inet", "host": name[0], "port": str(name[1]), version: True}
