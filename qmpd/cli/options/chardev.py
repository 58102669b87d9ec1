"""``-chardev``, and the short forms that ``-qmp``, ``-monitor`` and ``-serial`` take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from qmpd.cli.report import CommandLineError
from qmpd.errors import GenericError, NotServed
from qmpd.options.groups import CHARDEV
from qmpd.options.qemu_opts import Opts, Warn, parse_opts
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.server.address import SocketAddress
    from qmpd.server.chardev.chardev import Chardev
    from qmpd.server.chardev.mux import MuxChardev
    from qmpd.server.chardev.socket import SocketChardev
    from qmpd.server.server import Server

BACKENDS: Final = {
    Personality.SYSTEM: (
        "stdio ringbuf mux pipe qemu-vdagent pty hub null msmouse socket vc parallel memory udp"
        " file wctablet serial testdev"
    ).split(),
    Personality.STORAGE_DAEMON: (
        "pty file udp memory stdio socket ringbuf null parallel pipe mux serial hub"
    ).split(),
}
"""Names of the backends of QEMU's programs, in the order of ``-chardev help``."""

NOT_SERVED: Final = ("telnet", "tn3270", "websocket")
_PLAIN: Final = ("null", "pty", "msmouse", "wctablet", "braille", "testdev", "stdio")
_TCP_LIKE: Final = {
    "tcp:": None,
    "telnet:": "telnet",
    "tn3270:": "tn3270",
    "websocket:": "websocket",
}
_HOST_PORT: Final = re.compile(r"([^:]{1,64})?:([^,]{1,32})")
_HOST_PORT_V6: Final = re.compile(r"\[([^\]]{1,64})\]:([^,]{1,32})")
MILLISECOND: Final = 0.001


def _ignore(_text: str, _hint: str | None) -> None:
    """Ignore warnings: QEMU does not warn about bare flags in short forms."""


def parse_short_form(label: str, text: str) -> Opts:
    """Parse ``unix:PATH,server=on``, ``tcp:HOST:PORT``, ``stdio``, ``mon:stdio``, ...

    These are the forms that ``qemu_chr_parse_compat`` reads.

    :param label: id of the new character device
    :raises CommandLineError: with an empty text where QEMU leaves the message to its caller
    """
    opts = Opts(CHARDEV, label)
    mux = text.startswith("mon:")
    rest = text.removeprefix("mon:")
    if mux:
        opts.set("mux", "on")
        if rest == "stdio":
            opts.set("signal", "off")
    if rest in _PLAIN or rest == "vc":
        opts.set("backend", rest)
    elif rest.startswith("vc:"):
        opts.set("backend", "vc")
    elif rest == "con:":
        opts.set("backend", "console")
    elif rest.startswith(("file:", "pipe:")):
        kind, _, path = rest.partition(":")
        opts.set("backend", kind)
        opts.set("path", path)
    elif rest.startswith("unix:"):
        opts.set("backend", "socket")
        path, *parameters = rest.removeprefix("unix:").split(",", 1)
        if path:
            opts.set("path", path)
        _parameters(opts, parameters)
    elif rest.startswith(tuple(_TCP_LIKE)):
        _tcp(opts, rest)
    elif rest.startswith("udp:"):
        raise CommandLineError("")
    elif rest.startswith(("/dev/parport", "/dev/ppi")):
        opts.set("backend", "parallel")
    elif rest.startswith("/dev/"):
        opts.set("backend", "serial")
    else:
        raise CommandLineError(f"'{text}' is not a valid char driver")
    return opts


def _tcp(opts: Opts, text: str) -> None:
    kind = text[: text.index(":") + 1]
    rest = text.removeprefix(kind)
    match = _HOST_PORT_V6.match(rest) or _HOST_PORT.match(rest)
    if match is None or rest[match.end() : match.end() + 1] not in ("", ","):
        raise CommandLineError("")
    opts.set("backend", "socket")
    opts.set("host", match[1] or "")
    opts.set("port", match[2])
    flag = _TCP_LIKE[kind]
    if flag is not None:
        opts.set(flag, "on")
    _parameters(opts, [rest[match.end() + 1 :]])


def _parameters(opts: Opts, rest: list[str]) -> None:
    for text in rest:
        parse_opts(CHARDEV, text, _ignore, implied=False, into=opts)


class ChardevFactory:
    """Makes character devices for one server.

    :param inform: takes QEMU's line about waiting for a client
    :param escape: byte that starts the commands of a multiplexed device
    """

    def __init__(
        self,
        server: Server,
        personality: Personality,
        inform: Callable[[str], None],
        *,
        escape: int = 1,
        socket_mode: int | None = None,
    ) -> None:
        self._server = server
        self._personality = personality
        self._inform = inform
        self._escape = escape
        self._socket_mode = socket_mode
        self.muxes: dict[str, MuxChardev] = {}

    def create(self, opts: Opts) -> Chardev:
        """Open the character device that `opts` describe, and add it to the server's table.

        :raises CommandLineError: the parameters do not fit
        :raises GenericError: it cannot be opened
        """
        if opts.id is None:
            raise CommandLineError("chardev: no id specified")
        backend = opts.get("backend")
        if backend is None:
            raise CommandLineError(f'chardev: "{opts.id}" missing backend')
        if backend not in BACKENDS[self._personality]:
            raise CommandLineError(f"'{backend}' is not a valid char driver name")
        chardev = self._open(opts.id, backend, opts)
        self._server.chardevs.add(chardev)
        if opts.flag("mux"):
            from qmpd.server.chardev.mux import MuxChardev

            machine = self._server.machine
            self.muxes[opts.id] = MuxChardev(
                chardev, self._escape, lambda: machine.request_shutdown("host-qmp-quit")
            )
        return chardev

    def frontend_place(self, label: str) -> tuple[Chardev, bool] | None:
        """The device that a frontend of chardev `label` attaches to, and whether it is multiplexed.

        :returns: None if there is no such chardev
        """
        if label in self.muxes:
            return self.muxes[label].add_port(), True
        chardev = self._server.chardevs.find(label)
        return None if chardev is None else (chardev, False)

    def _open(self, label: str, backend: str, opts: Opts) -> Chardev:
        if opts.get("logfile") is not None:
            raise NotServed("chardev parameter 'logfile' is not served by qmpd")
        if backend == "socket":
            return self._open_socket(label, opts)
        if backend == "stdio":
            return self._open_stdio(label, opts)
        if backend in ("null", "vc"):
            from qmpd.server.chardev.chardev import NullChardev

            # without a display QEMU's virtual consoles swallow everything, too
            return NullChardev(label)
        if backend == "ringbuf":
            from qmpd.server.chardev.chardev import RingbufChardev

            return RingbufChardev(label, opts.size("size", 65536))
        if backend == "file":
            from qmpd.server.chardev.file import FileChardev

            path = opts.get("path")
            if path is None:
                raise CommandLineError("chardev: file: no filename given")
            return FileChardev(label, path, append=opts.flag("append"))
        raise NotServed(f"chardev backend '{backend}' is not served by qmpd")

    def _open_stdio(self, label: str, opts: Opts) -> Chardev:
        from qmpd.server.chardev.stdio import StdioChardev

        if any(isinstance(chardev, StdioChardev) for chardev in self._server.chardevs):
            raise CommandLineError("cannot use stdio by multiple character devices")
        return StdioChardev(label, self._server.loop, signals=opts.flag("signal", True))

    def _open_socket(self, label: str, opts: Opts) -> SocketChardev:
        from qmpd.server.chardev.socket import SocketChardev

        address = self._address(opts)
        server = opts.flag("server")
        self._check_socket(opts, server, address)
        milliseconds = opts.number("reconnect-ms", 0) or 1000 * (opts.number("reconnect", 0) or 0)
        chardev = SocketChardev(
            label,
            self._server.loop,
            address,
            server=server,
            reconnect=milliseconds * MILLISECOND,
            may_linger=self._server.may_linger,
        )
        if server and opts.flag("wait", True):
            self._inform(f"QEMU waiting for connection on: {chardev.filename}")
            chardev.wait_for_client()
        return chardev

    def _address(self, opts: Opts) -> SocketAddress:
        from qmpd.server.address import FdAddress, InetAddress, UnixAddress

        path, host, fd = opts.get("path"), opts.get("host"), opts.get("fd")
        if [path, host, fd].count(None) < 2:
            raise CommandLineError("None or one of 'path', 'fd' or 'host' option required.")
        if path is not None:
            abstract, tight = opts.flag("abstract"), opts.flag("tight", True)
            return UnixAddress(path, abstract, tight, self._socket_mode)
        if host is None:
            return FdAddress(fd or "")
        port = opts.get("port")
        if port is None:
            raise CommandLineError("chardev: socket: no port given")
        ipv4 = opts.flag("ipv4") if opts.get("ipv4") else None
        ipv6 = opts.flag("ipv6") if opts.get("ipv6") else None
        nodelay = opts.flag("nodelay") or (opts.get("delay") is not None and not opts.flag("delay"))
        return InetAddress(host, port, opts.number("to"), ipv4, ipv6, nodelay)

    def _check_socket(self, opts: Opts, server: bool, address: SocketAddress) -> None:
        from qmpd.server.address import FdAddress

        reconnects = opts.get("reconnect") is not None or opts.get("reconnect-ms") is not None
        if opts.get("reconnect") is not None and opts.get("reconnect-ms") is not None:
            raise GenericError("'reconnect' and 'reconnect-ms' are mutually exclusive")
        if reconnects and isinstance(address, FdAddress):
            raise GenericError("'reconnect' option is incompatible with 'fd' address type")
        if opts.get("tls-creds") is not None:
            raise GenericError(f"No TLS credentials with id '{opts.get('tls-creds')}'")
        if opts.get("tls-authz") is not None:
            raise GenericError("'tls_authz' option requires 'tls_creds' option")
        if server and reconnects:
            raise GenericError(
                "'reconnect' option is incompatible with socket in server listen mode"
            )
        if not server and opts.get("wait") is not None:
            raise GenericError("'wait' option is incompatible with socket in client connect mode")
        if not server and opts.flag("websocket"):
            raise GenericError("Websocket client is not implemented")
        for name in NOT_SERVED:
            if opts.flag(name):
                raise NotServed(f"chardev parameter '{name}' is not served by qmpd")


def parse_chardev(text: str, warn: Warn) -> Opts:
    """Parse the argument of ``-chardev``.

    :raises CommandLineError: with QEMU's text
    """
    return parse_opts(CHARDEV, text, warn)
