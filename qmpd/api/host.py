"""The process of a machine that a program holds: it belongs to the program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.errors import QmpError
from qmpd.loop.apart import ApartInThread
from qmpd.loop.task import Timer
from qmpd.machine.host import NoHost

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.api.pipe import PipeEnd
    from qmpd.export.host import Listener
    from qmpd.loop.stream import Connect
    from qmpd.loop.task import Handle
    from qmpd.machine.host import OpenStream, StreamListener
    from qmpd.machine.machine import Machine
    from qmpd.server.chardev.hot import CharDevices
    from qmpd.server.dial import Dialer
    from qmpd.server.listener import SocketListener
    from qmpd.server.sockets import ClientSockets
    from qmpd.server.streams import Streams


def _nothing() -> None:
    """A pipe cannot be called off."""


class _Piped:
    """Where the stream comes from that has no socket (`StreamListener`)."""

    def __init__(self) -> None:
        self.addresses: list[dict[str, Any]] = []

    def close(self) -> None:
        """Wait no more."""

    end = close


class ProgramHost(NoHost):
    """Keeps what QEMU would print, and listens while an event loop runs the machine.

    :param shut_down: called when the machine has been asked to end
    """

    def __init__(self, shut_down: Callable[[], None]) -> None:
        self.printed: list[str] = []
        self.complaints: list[str] = []
        self._apart = ApartInThread()
        self.loop: AbstractEventLoop | None = None
        """The event loop that runs the machine, if one does."""
        self.tell: Callable[[str], None] | None = None
        """Told of each NBD client that it has ``opened`` or ``closed`` its connection."""
        self._shut_down = shut_down
        self._listeners: list[SocketListener] = []
        self._dialer: Dialer | None = None
        self.machine: Callable[[], Machine] | None = None
        """Returns the machine that lives here."""
        self.pipe: PipeEnd | None = None
        """What a migration goes over that has no socket."""

    @property
    @override
    def apart(self) -> ApartInThread:
        """By threads while the machine is served: others wait then."""
        return self._apart

    @cached_property
    def _sockets(self) -> ClientSockets:
        """Those that clients ask for."""
        from qmpd.server.sockets import ClientSockets

        return ClientSockets(self._machine)

    @cached_property
    def chardevs(self) -> CharDevices:
        """The character devices; those that need an event loop are there while one runs it."""
        from qmpd.server.chardev.hot import CharDevices
        from qmpd.server.chardev.maker import Surroundings

        chardevs = CharDevices(Surroundings(self._machine, lambda: self.loop, self._sockets))
        chardevs.serving = True
        return chardevs

    def _machine(self) -> Machine:
        assert self.machine is not None
        return self.machine()

    def print(self, text: str) -> None:
        """Keep what is for standard output."""
        self.printed.append(text)

    def report(self, text: str) -> None:
        """Keep what is for standard error."""
        # jobs repeat themselves: the same text is kept once
        last = self.complaints[-1] if self.complaints else None
        self.complaints.append(last if text == last else text)

    def shut_down(self, reason: str) -> None:
        """Have the machine closed."""
        self._shut_down()

    @property
    def arrivals(self) -> int:
        """Changes whenever NBD clients have asked for something."""
        return sum(listener.arrivals for listener in self._listeners)

    def listen(self, address: Mapping[str, Any], connect: Connect) -> Listener:
        """Listen for NBD clients, on the event loop that runs the machine.

        :raises NotServed: there is none
        :raises GenericError: it cannot listen there
        """
        if self.loop is None:
            return super().listen(address, connect)
        from qmpd.server.listener import SocketListener

        sockets = self._sockets
        listener = SocketListener(
            self.loop, sockets.read(address), connect, sockets=sockets, tell=self.tell
        )
        self._listeners.append(listener)
        return listener

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        """Connect to a server, on the event loop that runs the machine.

        :raises NotServed: there is none
        """
        if self.loop is None:
            return super().connect(address, connect, failed)
        from qmpd.server.dial import Dialer

        if self._dialer is None:
            self._dialer = Dialer(self.loop, self._sockets)
        return self._dialer.connect(address, connect, failed)

    def open_stream(
        self,
        address: Mapping[str, Any],
        connect: OpenStream,
        failed: Callable[[QmpError], None],
    ) -> Handle:
        """Open a migration's stream: the pipe, or by the event loop that runs the machine.

        :raises NotServed: there is neither
        """
        if self.pipe is not None:
            self.pipe.connection = connect(self.pipe)
            self.pipe.deliver()
            return Timer(_nothing)
        if self.loop is None:
            return super().open_stream(address, connect, failed)
        return self._streams(self.loop).open(address, connect, failed)

    def await_stream(self, address: Mapping[str, Any], connect: OpenStream) -> StreamListener:
        """Wait for a migration's stream: see `open_stream`.

        :raises NotServed: there is neither
        """
        if self.pipe is not None:
            self.pipe.connection = connect(self.pipe)
            return _Piped()
        if self.loop is None:
            return super().await_stream(address, connect)
        return self._streams(self.loop).wait(address, connect)

    def _streams(self, loop: AbstractEventLoop) -> Streams:
        from qmpd.server.streams import Streams

        storage = self._machine().services.storage
        return Streams(
            loop,
            self._sockets,
            lambda: storage,
            lambda text: self.report(f"warning: {text}\n"),
        )

    def cut(self) -> None:
        """Listen no more, and cut off NBD clients and servers."""
        while self._listeners:
            self._listeners.pop().leave_loop()
        if "chardevs" in self.__dict__:
            self.chardevs.drop_added()
        if self._dialer is not None:
            self._dialer.close()
            self._dialer = None

    def leave_loop(self) -> None:
        """The event loop runs the machine no longer."""
        self.cut()
        self.loop = None
