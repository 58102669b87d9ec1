"""A monitor without its socket: bytes in, bytes out.

A monitor is fed with what a peer sends and writes to a `Transport`.  It does no I/O and
starts no timers: commands run on the machine's loop, through the one `Dispatcher` of the
machine.  The life of a monitor is::

    opened()            a peer is there; the greeting or the banner is written
    feed(data)          any number of times, in pieces of any size
    output()            what was written since (only where no transport was given)
    closed()            the peer has gone; `opened` may follow

A character device calls these methods when it is attached to the monitor (see
`qmpd.server.chardev`), a program in the same process calls them itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from qmpd.monitor.descriptors import Descriptors
from qmpd.monitor.transport import Output, Transport

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor
    from qmpd.errors import QmpError
    from qmpd.loop.events import EventRecord
    from qmpd.monitor.dispatcher import Work
    from qmpd.monitor.journal import Tap


class Monitor(ABC):
    """What QMP and the human monitor have in common; a `Source` of commands.

    :param label: its name in the journal and in log messages
    :param transport: where output goes; it is kept for `output` if absent
    :param tap: sees all that passes
    """

    def __init__(self, label: str, transport: Transport | None, tap: Tap | None = None) -> None:
        self.label = label
        self.tap = tap
        self._output = Output()
        self._transport: Transport = self._output if transport is None else transport
        self.descriptors = Descriptors(self._take_descriptor)
        """What its clients have handed over."""

    @property
    def transport(self) -> Transport:
        """Where output goes."""
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport = transport

    def _take_descriptor(self) -> Descriptor | None:
        return self._transport.take_descriptor()

    def output(self) -> bytes:
        """Return what the monitor has written since the last call.

        :raises ValueError: the output goes to a transport
        """
        if self._transport is not self._output:
            raise ValueError("the output of this monitor goes to its transport")
        return self._output.take()

    @abstractmethod
    def opened(self) -> None:
        """A peer is there: greet it."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Take bytes that the peer has sent."""

    @abstractmethod
    def closed(self) -> None:
        """The peer has gone: what it sent and was not handled is dropped."""

    @abstractmethod
    def drained(self) -> None:
        """Output that was congested has room again."""

    @abstractmethod
    def deliver(self, event: EventRecord) -> None:
        """Take an event of the machine, after the limits of rate."""

    @abstractmethod
    def next_work(self) -> Work | None:
        """Return the next command to run; None while there is none."""

    def next_look(self) -> Work | None:
        """The next command, if it may be run in the middle of another one; most wait."""
        return None

    @abstractmethod
    def completed(self, value: Any) -> None:
        """Answer the command that has returned `value`."""

    @abstractmethod
    def failed(self, error: QmpError) -> None:
        """Answer the command that has failed."""

    @abstractmethod
    def flush(self) -> None:
        """Send the output that was collected while commands ran."""
