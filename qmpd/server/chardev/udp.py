"""Backend ``udp``: datagrams to one place."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from qmpd.base.override import override
from qmpd.errors import GenericError
from qmpd.server.address import look_up
from qmpd.server.broken_off import watch_again
from qmpd.server.chardev.chardev import Chardev

_DATAGRAM = 65536


class UdpChardev(Chardev):
    """A socket that sends what is written as datagrams, and hands on those that come.

    :param remote: SocketAddress of where they go
    :param local: SocketAddress of where they come; any free port if absent
    :raises GenericError: there is no such place
    """

    def __init__(
        self,
        label: str,
        loop: AbstractEventLoop,
        remote: Mapping[str, Any],
        local: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(label)
        self._loop = loop
        self._socket = _connected(remote, local)
        self._socket.setblocking(False)
        self._watching = False

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "udp"

    @override
    def start(self) -> None:
        self.resume_input()

    @override
    def resume_input(self) -> None:
        if not self._watching:
            self._watching = True
            self._loop.add_reader(self._socket.fileno(), self._readable)

    @override
    def pause_input(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._socket.fileno())

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_DATAGRAM)
        except OSError:
            # Nobody was there to take what has been sent; somebody may come.
            watch_again(self._loop, self._socket.fileno(), self._readable)
            return
        if data and self.frontend is not None:
            self.frontend.feed(data)

    @override
    def send(self, data: bytes) -> None:
        # nobody knows whether a datagram arrives
        with suppress(OSError):
            self._socket.send(data)

    @override
    def close(self) -> None:
        self.pause_input()
        self._socket.close()


def _connected(remote: Mapping[str, Any], local: Mapping[str, Any] | None) -> socket.socket:
    if remote["type"] != "inet" or (local is not None and local["type"] != "inet"):
        raise GenericError("socket type unsupported for datagram")
    if not remote["port"]:
        raise GenericError("remote port not specified")
    family, place = _resolve(remote["host"] or "localhost", remote["port"], _family(remote), 0)
    here: tuple[Any, ...] | None = None
    if local is not None:
        _, here = _resolve(
            local["host"] or None, local["port"] or "0", family, socket.AI_PASSIVE, "(null)"
        )
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if here is not None:
            sock.bind(here)
    except OSError as error:
        sock.close()
        raise GenericError(f"Failed to bind socket: {error.strerror}") from None
    try:
        sock.connect(place)
    except OSError as error:
        sock.close()
        where = f"{remote['host']}:{remote['port']}"
        raise GenericError(f"Failed to connect to '{where}': {error.strerror}") from None
    return sock


def _family(address: Mapping[str, Any]) -> int:
    ipv4, ipv6 = address.get("ipv4"), address.get("ipv6")
    if ipv4 and not ipv6:
        return socket.AF_INET
    if ipv6 and not ipv4:
        return socket.AF_INET6
    return socket.AF_UNSPEC


def _resolve(
    host: str | None, port: str, family: int, flags: int, empty: str = ""
) -> tuple[int, tuple[Any, ...]]:
    try:
        return look_up(host, port, family, socket.SOCK_DGRAM, flags)[0]
    except socket.gaierror as error:
        raise GenericError(
            f"address resolution failed for {host or empty}:{port}: {error.strerror}"
        ) from None
