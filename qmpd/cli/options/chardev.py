"""``-chardev``, and the short forms that ``-qmp``, ``-monitor`` and ``-serial`` take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from qmpd.cli.report import CommandLineError
from qmpd.errors import GenericError
from qmpd.options.chardev_backend import parse_backend
from qmpd.options.groups import CHARDEV
from qmpd.options.qemu_opts import Opts, Warn, parse_opts
from qmpd.server.chardev.hot import redirected

if TYPE_CHECKING:
    from qmpd.server.chardev.chardev import Chardev
    from qmpd.server.chardev.mux import MuxChardev
    from qmpd.server.server import Server

_PLAIN: Final = ("null", "pty", "msmouse", "wctablet", "braille", "testdev", "stdio")
_TCP_LIKE: Final = {
    "tcp:": None,
    "telnet:": "telnet",
    "tn3270:": "tn3270",
    "websocket:": "websocket",
}
_UDP_PLACE: Final = re.compile(r"([^:]{1,64})?:([^@,]{1,32})")
_HOST_PORT: Final = re.compile(r"([^:]{1,64})?:([^,]{1,32})")
_HOST_PORT_V6: Final = re.compile(r"\[([^\]]{1,64})\]:([^,]{1,32})")


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
    elif rest.startswith(("file:", "pipe:", "pty:")):
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
        _udp(opts, rest.removeprefix("udp:"))
    elif rest.startswith(("/dev/parport", "/dev/ppi")):
        opts.set("backend", "parallel")
        opts.set("path", rest)
    elif rest.startswith("/dev/"):
        opts.set("backend", "serial")
        opts.set("path", rest)
    else:
        raise CommandLineError(f"'{rest}' is not a valid char driver")
    return opts


def chardev_of(text: str) -> str | None:
    """NAME of ``chardev:NAME``, which takes a character device that is there; None otherwise."""
    return text.removeprefix("chardev:") if text.startswith("chardev:") else None


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


def _udp(opts: Opts, text: str) -> None:
    """``udp:[HOST]:PORT[@[LOCALHOST]:LOCALPORT]``."""
    opts.set("backend", "udp")
    remote, at, local = text.partition("@")
    match = _UDP_PLACE.match(remote)
    if match is None:
        raise CommandLineError("")
    opts.set("host", match[1] or "")
    opts.set("port", match[2])
    if at:
        match = _UDP_PLACE.match(local)
        if match is None:
            raise CommandLineError("")
        opts.set("localaddr", match[1] or "")
        opts.set("localport", match[2])


def _parameters(opts: Opts, rest: list[str]) -> None:
    for text in rest:
        parse_opts(CHARDEV, text, _ignore, implied=False, into=opts)


class ChardevFactory:
    """Makes the character devices of a command line.

    :param inform: takes QEMU's line about waiting for a client
    :param escape: byte that starts the commands of a multiplexed device
    """

    def __init__(self, server: Server, inform: Callable[[str], None], *, escape: int = 1) -> None:
        self._server = server
        self._maker = server.chardevs.maker
        surroundings = self._maker.surroundings
        surroundings.inform = inform
        surroundings.escape = escape
        surroundings.neighbours = server

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
        self._maker.check_kind(backend)
        kind, data = parse_backend(opts)
        mux = opts.flag("mux")
        chardev = self._maker.make(f"{opts.id}-base" if mux else opts.id, kind, data, None)
        self._add(chardev)
        if mux:
            data = {"chardev": chardev.label}
            self._add(self._maker.make(opts.id, "mux", data, None))
        if text := redirected(chardev):
            self._server.print(text)
        return chardev

    def _add(self, chardev: Chardev) -> None:
        try:
            self._server.chardevs.add(chardev)
        except GenericError:
            chardev.close()
            raise

    @property
    def muxes(self) -> list[MuxChardev]:
        """The multiplexed devices."""
        chardevs = self._server.chardevs.oldest_first()
        if not any(chardev.filename == "mux" for chardev in chardevs):
            return []
        from qmpd.server.chardev.mux import MuxChardev

        return [chardev for chardev in chardevs if isinstance(chardev, MuxChardev)]

    def frontend_place(self, label: str) -> tuple[Chardev, bool] | None:
        """The device that a frontend of chardev `label` attaches to, and whether it is multiplexed.

        :returns: None if there is no such chardev
        """
        for mux in self.muxes:
            if mux.label == label:
                return mux.add_port(), True
        chardev = self._server.chardevs.find(label)
        return None if chardev is None else (chardev, False)


def parse_chardev(text: str, warn: Warn) -> Opts:
    """Parse the argument of ``-chardev``.

    :raises CommandLineError: with QEMU's text
    """
    return parse_opts(CHARDEV, text, warn)
