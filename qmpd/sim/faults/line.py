"""What stands between the two ends of a connection while faults are about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from qmpd.monitor.qmp_monitor import QmpMonitor
from qmpd.sim.faults.effects import Effect, Unit
from qmpd.sim.faults.messages import Chunks, Messages

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor
    from qmpd.loop.clock import Clock
    from qmpd.loop.stream import Connect, Connection, Peer
    from qmpd.sim.faults.connections import ConnectionFault


class Course:
    """One direction of one connection.

    :param label: whose connection it is
    :param splitter: finds the messages
    :param pass_on: takes what arrives
    :param end: cuts the connection
    """

    def __init__(
        self,
        clock: Clock,
        label: str,
        splitter: Messages | Chunks,
        pass_on: Callable[[bytes], None],
        end: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._label = label
        self._splitter = splitter
        self._pass_on = pass_on
        self._end = end
        self._effects: list[Effect] = []
        self._queue: deque[Unit] = deque()
        self._pumping = False
        self._closed = False
        self.deaf = False
        """Whether nothing goes on any more, though more may come."""

    @property
    def backlog(self) -> int:
        """Bytes that are on their way."""
        return sum(len(unit.data) for unit in self._queue)

    def add(self, fault: ConnectionFault) -> None:
        """Let a fault act on what comes from now on."""
        self._effects.append(Effect(fault, self._label, self._later))

    def remove(self, fault: ConnectionFault) -> None:
        """Let a fault act no longer; what it has held back goes on."""
        for effect in [effect for effect in self._effects if effect.fault is fault]:
            self._effects.remove(effect)
            for unit in effect.rest():
                self._send(unit)
            if fault.action == "deaf":
                self.deaf = False
                self._go_on()

    def push(self, data: bytes) -> None:
        """Take what one end sends."""
        for piece in self._splitter.split(data):
            units = [Unit(*piece)]
            for effect in self._effects:
                units = [later for unit in units for later in effect.apply(unit)]
            for unit in units:
                self._send(unit)

    def _later(self, delay: int, unit: Unit) -> None:
        self._clock.call_later(delay, lambda: self._send(unit))

    def _send(self, unit: Unit) -> None:
        if self._closed:
            return
        self._queue.append(unit)
        self._go_on()

    def _go_on(self) -> None:
        """Pass on what need not wait."""
        while self._queue and not self._pumping and not self.deaf:
            unit = self._queue[0]
            if unit.wait or unit.alone:
                self._pumping = True
                self._clock.spawn(self._pump(), "a connection's fault")
                return
            self._pass(self._queue.popleft())

    async def _pump(self) -> None:
        """Pass on the first unit when its time has come."""
        unit = self._queue[0]
        if unit.wait:
            await self._clock.sleep(unit.wait)
        else:
            await self._clock.reschedule()
        self._pumping = False
        if self._queue and self._queue[0] is unit:
            self._pass(self._queue.popleft())
        self._go_on()

    def _pass(self, unit: Unit) -> None:
        if unit.data:
            self._pass_on(unit.data)
        if unit.end == "cut":
            self._end()
        elif unit.end == "deaf":
            self.deaf = True

    def close(self, *, send: bool = False) -> None:
        """Let nothing pass any more.

        :param send: pass on first what is on its way
        """
        if send and not self._closed:
            for effect in self._effects:
                self._queue.extend(effect.rest())
            data = b"".join(unit.data for unit in self._queue)
            if data:
                self._pass_on(data)
        self._closed = True
        self._queue.clear()


class Line:
    """Both directions of one connection.

    :param send: takes what the client is to get
    :param feed: takes what the client has sent
    :param cut: cuts the connection
    """

    def __init__(
        self,
        clock: Clock,
        label: str,
        send: Callable[[bytes], None],
        feed: Callable[[bytes], None],
        cut: Callable[[], None],
        *,
        messages: bool,
    ) -> None:
        kind = Messages if messages else Chunks
        self._out = Course(clock, label, kind(), send, cut)
        self._in = Course(clock, label, kind(), feed, cut)
        self.send = self._out.push
        self.feed = self._in.push

    @property
    def deaf(self) -> bool:
        """Whether nothing of what the client sends is listened to."""
        return self._in.deaf

    @property
    def backlog(self) -> int:
        """Bytes that the client is to get and that are on their way."""
        return self._out.backlog

    def add(self, fault: ConnectionFault) -> None:
        """Let a fault act, if it is about this connection."""
        if fault.connects():
            (self._in if fault.direction == "in" else self._out).add(fault)

    def remove(self, fault: ConnectionFault) -> None:
        """Let a fault act no longer."""
        self._in.remove(fault)
        self._out.remove(fault)

    def close(self, *, send: bool = False) -> None:
        """Let nothing pass any more; with `send`, after what is on its way."""
        self._out.close(send=send)
        self._in.close(send=send)


class MonitorLine:
    """A QMP monitor whose clients meet faults, one client after the other.

    It is the monitor's transport, and takes in its place what comes from the other one.
    """

    def __init__(
        self, monitor: QmpMonitor, clock: Clock, faults: Callable[[], Iterable[ConnectionFault]]
    ) -> None:
        self._monitor = monitor
        self._clock = clock
        self._faults = faults
        self._far = monitor.transport
        self._line: Line | None = None
        monitor.transport = self
        own = vars(monitor)
        own["opened"], own["feed"], own["closed"] = self._opened, self._feed, self._closed
        if monitor.has_peer:
            self._begin()

    def detach(self) -> None:
        """Leave the monitor as it was."""
        for name in ("opened", "feed", "closed"):
            del vars(self._monitor)[name]
        self._monitor.transport = self._far
        if self._line is not None:
            line, self._line = self._line, None
            line.close(send=True)

    def _begin(self) -> None:
        self._line = Line(
            self._clock,
            self._monitor.label,
            self._far.write,
            lambda data: QmpMonitor.feed(self._monitor, data),
            self.disconnect,
            messages=True,
        )
        for fault in self._faults():
            self._line.add(fault)

    def add(self, fault: ConnectionFault) -> None:
        """Let a fault act on the client that is there."""
        if self._line is not None:
            self._line.add(fault)

    def remove(self, fault: ConnectionFault) -> None:
        """Let a fault act no longer."""
        if self._line is not None:
            self._line.remove(fault)
            if fault.action == "deaf" and not self._line.deaf:
                self._far.resume_input()

    # What the other transport tells the monitor

    def _opened(self) -> None:
        self._begin()
        QmpMonitor.opened(self._monitor)

    def _feed(self, data: bytes) -> None:
        if self._line is not None:
            self._line.feed(data)
            if self._line is not None and self._line.deaf:
                self._far.pause_input()

    def _closed(self) -> None:
        if self._line is not None and not self._far.outlives_input:
            line, self._line = self._line, None
            line.close()
        QmpMonitor.closed(self._monitor)

    # What the monitor tells its transport

    def take_descriptor(self) -> Descriptor | None:
        """What the client has handed over."""
        return self._far.take_descriptor()

    @property
    def outlives_input(self) -> bool:
        """As of the other transport."""
        return self._far.outlives_input

    @property
    def backlog(self) -> int:
        """Bytes that the peer has not taken yet, those on their way included."""
        return self._far.backlog + (0 if self._line is None else self._line.backlog)

    @property
    def congested(self) -> bool:
        """As of the other transport."""
        return self._far.congested

    def write(self, data: bytes) -> None:
        """Send `data` on its way."""
        if self._line is not None:
            self._line.send(data)

    def pause_input(self) -> None:
        """As the other transport does."""
        self._far.pause_input()

    def resume_input(self) -> None:
        """As the other transport does, unless nobody listens."""
        if self._line is None or not self._line.deaf:
            self._far.resume_input()

    def disconnect(self) -> None:
        """As the other transport does."""
        self._far.disconnect()


class PeerLine:
    """A client of the NBD server that meets faults: a peer to the server, a server to its peer.

    :param connect: connects a peer to the server
    """

    def __init__(
        self, peer: Peer, connect: Connect, clock: Clock, faults: Iterable[ConnectionFault]
    ) -> None:
        self._peer = peer
        self._near: Connection | None = None
        self._line = Line(clock, "nbd", peer.write, self._arrived, self._cut, messages=False)
        self._is_cut = False
        for fault in faults:
            self._line.add(fault)
        self._near = connect(self)
        if self._is_cut:
            self._near.closed()

    def _arrived(self, data: bytes) -> None:
        if self._near is not None:
            self._near.feed(data)

    def _cut(self) -> None:
        if not self._is_cut:
            self._is_cut = True
            self._line.close()
            self._peer.close()
            if self._near is not None:
                self._near.closed()

    def remove(self, fault: ConnectionFault) -> None:
        """Let a fault act no longer."""
        self._line.remove(fault)
        if not self._line.deaf:
            self._peer.resume_input()

    @property
    def is_gone(self) -> bool:
        """Whether the client has gone, or was cut off."""
        return self._is_cut

    # What the peer tells the server

    @property
    def wanted(self) -> int:
        """As of the server."""
        return 0 if self._near is None else self._near.wanted

    def feed(self, data: bytes) -> None:
        """Take bytes that the peer has sent."""
        self._line.feed(data)
        if self._line.deaf:
            self._peer.pause_input()

    def drained(self) -> None:
        """All output has been sent."""
        if self._near is not None:
            self._near.drained()

    def closed(self) -> None:
        """The peer has gone."""
        self._is_cut = True
        self._line.close()
        if self._near is not None:
            self._near.closed()

    # What the server tells the peer

    @property
    def congested(self) -> bool:
        """As of the peer."""
        return self._peer.congested

    def write(self, data: bytes) -> None:
        """Send `data` on its way."""
        self._line.send(data)

    def pause_input(self) -> None:
        """As the peer does."""
        self._peer.pause_input()

    def resume_input(self) -> None:
        """As the peer does, unless nobody listens."""
        if not self._line.deaf:
            self._peer.resume_input()

    def close(self) -> None:
        """Disconnect the peer."""
        self._is_cut = True
        self._line.close(send=True)
        self._peer.close()
