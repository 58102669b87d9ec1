"""Makes character devices of what QAPI says of them (`ChardevBackend`)."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError, NotServed
from qmpd.machine.chardevs import TakeDescriptor, backend_names
from qmpd.machine.socket_names import flat_address, named_descriptor
from qmpd.profile.personality import Personality
from qmpd.server.chardev.chardev import Chardev, ChardevTable, NullChardev, RingbufChardev

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.server.chardev.file import OpenFile, OutputFile
    from qmpd.server.chardev.stream import Neighbours
    from qmpd.server.sockets import ClientSockets

ESCAPE: Final = 0x01
"""ctrl-a; ``-echr`` sets another."""

_IN_A_MODULE: Final = "braille"
"""A backend that the system emulator has, but does not list."""


class Surroundings:
    """What character devices are made in.

    :param machine: returns the machine of the process
    :param loop: returns the event loop that serves them; None where none does
    :param sockets: makes those that clients ask for
    """

    def __init__(
        self,
        machine: Callable[[], Machine],
        loop: Callable[[], AbstractEventLoop | None],
        sockets: ClientSockets,
    ) -> None:
        self.sockets = sockets
        self.machine = machine
        self.loop = loop
        self.neighbours: Neighbours | None = None
        """See `Stream`."""
        self.inform: Callable[[str], None] = lambda _: None
        """Takes QEMU's line about waiting for a client."""
        self.escape = ESCAPE
        """Byte that starts the commands of a multiplexed device."""
        self.daemonized = False
        """Whether the process has left its terminal."""


class ChardevMaker:
    """Makes character devices.

    :param table: those that there are
    """

    def __init__(self, surroundings: Surroundings, table: ChardevTable) -> None:
        self.surroundings = self._in = surroundings
        self._table = table

    def check_kind(self, kind: str) -> None:
        """Check that the program has backends of a kind (``char_get_class``).

        :raises GenericError: it has none
        """
        machine = self._in.machine()
        if kind == _IN_A_MODULE and machine.personality is Personality.SYSTEM:
            return
        if kind not in backend_names(machine.profile, machine.personality):
            raise GenericError(f"'{kind}' is not a valid char driver name")

    def make(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor | None
    ) -> Chardev:
        """Open a character device (``chardev_new``); whoever asks puts it into the table.

        :param kind: ChardevBackendKind
        :param data: the members of that kind's `data`
        :param take: takes a descriptor that a client has named; None for those that the process
            was started with, which go by their numbers
        :raises GenericError: QEMU's text
        """
        self.check_kind(kind)
        make = _KINDS.get(kind)
        if make is None:
            raise NotServed(f"chardev backend '{kind}' is not served by qmpd")
        log = self._open_log(data)
        try:
            chardev = make(self, label, kind, data, take)
        except BaseException:
            if log is not None:
                log.close()
            raise
        chardev.log = log
        return chardev

    def _open_log(self, data: Mapping[str, Any]) -> OutputFile | None:
        from qmpd.server.chardev.file import OutputFile, forever

        path = data.get("logfile")
        if path is None:
            return None
        flags = os.O_WRONLY | os.O_CREAT
        opened = self._open_file(path, _appending(flags, data.get("logappend")), verb="create")
        return OutputFile(forever(opened))

    def _open_file(self, path: str, flags: int, *, verb: str = "open") -> OpenFile:
        from qmpd.server.chardev.file import open_file

        return open_file(path, flags, self._in.machine().services.storage, verb=verb)

    def _loop(self, kind: str) -> AbstractEventLoop:
        loop = self._in.loop()
        if loop is None:
            raise NotServed(
                f"chardev backend '{kind}' needs a machine that is served: this one has no event"
                " loop"
            )
        return loop

    def _null(self, label: str, kind: str, _: Mapping[str, Any], __: object) -> Chardev:
        return NullChardev(label, kind)

    def _ringbuf(self, label: str, kind: str, data: Mapping[str, Any], _: object) -> Chardev:
        return RingbufChardev(label, data.get("size", 65536) & 0xFFFFFFFFFFFFFFFF, kind)

    def _file(self, label: str, kind: str, data: Mapping[str, Any], _: object) -> Chardev:
        from qmpd.server.chardev.file import DescriptorChardev, FileChardev

        loop = self._loop(kind) if "in" in data else None
        sink = self._open_file(
            data["out"], _appending(os.O_WRONLY | os.O_CREAT, data.get("append"))
        )
        if loop is None:
            return FileChardev(label, sink)
        try:
            source = self._open_file(data["in"], os.O_RDONLY)
        except GenericError:
            os.close(sink.fd)
            sink.left()
            raise
        return DescriptorChardev(label, kind, loop, source, sink)

    def _pipe(self, label: str, kind: str, data: Mapping[str, Any], _: object) -> Chardev:
        from qmpd.server.chardev.file import DescriptorChardev, open_pipe

        loop = self._loop(kind)
        storage = self._in.machine().services.storage
        return DescriptorChardev(label, kind, loop, *open_pipe(data["device"], storage))

    def _pty(self, label: str, kind: str, data: Mapping[str, Any], _: object) -> Chardev:
        from qmpd.server.chardev.pty import PtyChardev

        host = self._in.machine().services.storage.host
        return PtyChardev(label, self._loop(kind), data.get("path"), host)

    def _stdio(self, label: str, kind: str, data: Mapping[str, Any], _: object) -> Chardev:
        from qmpd.server.chardev.stdio import StdioChardev

        loop = self._loop(kind)
        if self._in.daemonized:
            raise GenericError("cannot use stdio with -daemonize")
        if any(isinstance(chardev, StdioChardev) for chardev in self._table):
            raise GenericError("cannot use stdio by multiple character devices")
        return StdioChardev(label, loop, signals=data.get("signal", True))

    def _udp(self, label: str, kind: str, data: Mapping[str, Any], _: object) -> Chardev:
        from qmpd.server.chardev.udp import UdpChardev

        self._in.sockets.check(None)
        local = flat_address(data["local"]) if "local" in data else None
        return UdpChardev(label, self._loop(kind), flat_address(data["remote"]), local)

    def _mux(self, label: str, _: str, data: Mapping[str, Any], __: object) -> Chardev:
        from qmpd.server.chardev.mux import MuxChardev

        base = self._table.find(data["chardev"])
        if base is None:
            raise GenericError(f"mux: base chardev {data['chardev']} not found")
        machine = self._in.machine()
        return MuxChardev(
            label, base, self._in.escape, lambda: machine.request_shutdown("host-qmp-quit")
        )

    def _hub(self, label: str, _: str, data: Mapping[str, Any], __: object) -> Chardev:
        from qmpd.server.chardev.mux import HubChardev, MuxChardev

        bases: list[Chardev] = []
        if not data["chardevs"]:
            raise GenericError("hub: 'chardevs' list is not defined")
        for name in data["chardevs"]:
            base = self._table.find(name)
            if base is None:
                raise GenericError(f"hub: chardev can't be found by id '{name}'")
            if isinstance(base, HubChardev | MuxChardev):
                raise GenericError(
                    "hub: multiplexers and hub devices can't be stacked, check chardev"
                    f" '{name}', chardev should not be a hub device or have 'mux=on' enabled"
                )
            bases.append(base)
        return HubChardev(label, bases)

    def _socket(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor | None
    ) -> Chardev:
        from qmpd.server.address import read_address
        from qmpd.server.chardev.socket import SocketChardev

        machine = self._in.machine()
        server = data.get("server", True)
        address = flat_address(data["addr"])
        check_socket(data, address["type"], server=server, has_object=machine.objects.objects)
        loop = self._loop(kind)
        milliseconds = 1000 * (data.get("reconnect") or 0) or data.get("reconnect-ms") or 0
        if take is not None and address["type"] == "fd" and not milliseconds:
            address = self._named(address, take, server=server)
        chardev = SocketChardev(
            label,
            loop,
            read_address(address, nodelay=data.get("nodelay", False)),
            server=server,
            reconnect=milliseconds / 1000,
            neighbours=self._in.neighbours,
            sockets=self._in.sockets,
        )
        if server and data.get("wait", False):
            self._in.inform(f"QEMU waiting for connection on: {chardev.filename}")
            chardev.wait_for_client()
        return chardev

    def _named(
        self, address: dict[str, Any], take: TakeDescriptor, *, server: bool
    ) -> dict[str, Any]:
        """An address with the descriptor that it names (``socket_get_fd``)."""
        name = address["str"]
        if server and not name:
            return address
        return {
            **address,
            "descriptor": named_descriptor(self._in.machine().personality, name, take),
        }


def _appending(flags: int, append: bool | None) -> int:
    return flags | (os.O_APPEND if append else os.O_TRUNC)


def check_socket(data: Mapping[str, Any], kind: str, *, server: bool, has_object: Any) -> None:
    """Check what goes together (``qmp_chardev_validate_socket``).

    :param kind: SocketAddressType
    :param has_object: the ids of the objects that object-add has made
    :raises GenericError: QEMU's text
    """
    credentials = data.get("tls-creds")
    if credentials is not None and credentials not in has_object:
        raise GenericError(f"No TLS credentials with id '{credentials}'")
    reconnects = "reconnect" in data
    if kind == "fd" and reconnects:
        raise GenericError("'reconnect' option is incompatible with 'fd' address type")
    if kind == "fd" and credentials is not None and not server:
        raise GenericError("'tls_creds' option is incompatible with 'fd' address type as client")
    if kind in ("unix", "vsock") and credentials is not None:
        raise GenericError(f"'tls_creds' option is incompatible with '{kind}' address type")
    if "tls-authz" in data and credentials is None:
        raise GenericError("'tls_authz' option requires 'tls_creds' option")
    if server and reconnects:
        raise GenericError("'reconnect' option is incompatible with socket in server listen mode")
    if not server and data.get("websocket"):
        raise GenericError("Websocket client is not implemented")
    if not server and "wait" in data:
        raise GenericError("'wait' option is incompatible with socket in client connect mode")
    if reconnects and "reconnect-ms" in data:
        raise GenericError("'reconnect' and 'reconnect-ms' are mutually exclusive")
    for name in ("telnet", "tn3270", "websocket"):
        if data.get(name):
            raise NotServed(f"chardev parameter '{name}' is not served by qmpd")
    if credentials is not None:
        raise NotServed("chardev parameter 'tls-creds' is not served by qmpd")


_Make = Callable[[ChardevMaker, str, str, Mapping[str, Any], "TakeDescriptor | None"], Chardev]

_KINDS: Final = MappingProxyType[str, _Make](
    {
        "null": ChardevMaker._null,
        # without a display virtual consoles swallow everything, too
        "vc": ChardevMaker._null,
        "ringbuf": ChardevMaker._ringbuf,
        "memory": ChardevMaker._ringbuf,
        "file": ChardevMaker._file,
        "pipe": ChardevMaker._pipe,
        "pty": ChardevMaker._pty,
        "stdio": ChardevMaker._stdio,
        "udp": ChardevMaker._udp,
        "mux": ChardevMaker._mux,
        "hub": ChardevMaker._hub,
        "socket": ChardevMaker._socket,
    }
)
"""What makes each kind."""
