"""Streams between machines of one process, on a clock that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qmpd.errors import GenericError, QmpError
from qmpd.loop.clock import Clock
from qmpd.loop.stream import Connect, Connection
from qmpd.loop.task import Handle, Timer
from qmpd.machine.host import NoHost


class End:
    """One end of a cable: the peer of what is connected to it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.connection: Connection | None = None
        self.far: End | None = None
        self.closed = False
        self.sent = b""

    congested = False

    def write(self, data: bytes) -> None:
        self.sent += data
        self._clock.call_soon(lambda: self._arrive(data))

    def _arrive(self, data: bytes) -> None:
        if self.far is not None and not self.far.closed and self.far.connection is not None:
            self.far.connection.feed(data)

    def pause_input(self) -> None:
        pass

    def resume_input(self) -> None:
        pass

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._clock.call_soon(self._tell_far)

    def _tell_far(self) -> None:
        if self.far is not None and not self.far.closed and self.far.connection is not None:
            self.far.connection.closed()


class Place:
    """A listener, as long as it is one."""

    def __init__(self, network: Network, name: str, connect: Connect) -> None:
        self.connect = connect
        self._network = network
        self._name = name

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self) -> None:
        self._network.places.pop(self._name, None)

    def end(self) -> None:
        self._network.places.pop(self._name, None)


class Network:
    """Who listens where, by the paths of unix sockets."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.places: dict[str, Place] = {}
        self.ends: list[End] = []
        """The ends of clients, in the order in which they have connected."""

    def host(self) -> NetworkHost:
        return NetworkHost(self)

    def cut(self) -> None:
        """Cut all cables."""
        for end in self.ends:
            if end.far is not None:
                end.far.close()
        self.ends.clear()


class NetworkHost(NoHost):
    """The process of a machine that is in a network."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def report(self, text: str) -> None:
        pass

    def listen(self, address: Mapping[str, Any], connect: Connect) -> Place:
        place = self.network.places[address["path"]] = Place(self.network, address["path"], connect)
        return place

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        network, path = self.network, address["path"]
        place = network.places.get(path)
        if place is None:
            failed(GenericError(f"Failed to connect to '{path}': No such file or directory"))
            return Timer(lambda: None)
        near, far = End(network.clock), End(network.clock)
        near.far, far.far = far, near
        network.ends.append(near)
        near.connection = connect(near)
        far.connection = place.connect(far)
        return Timer(lambda: None)
