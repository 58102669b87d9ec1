"""What a machine needs of the process that it lives in.

A machine never listens, writes to standard output, or ends, aborts or signals the process by
itself: it asks its `Host`, which it is given when it is made.  The programs give it a server
with sockets; a machine in a Python program has `NoHost` unless it is given another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from qmpd.base.console import write
from qmpd.block.model.services import no_connection
from qmpd.errors import NotServed
from qmpd.export.host import ExportHost
from qmpd.loop.apart import Apart
from qmpd.loop.stream import Peer
from qmpd.machine.chardevs import CharDevices, NoCharDevices

if TYPE_CHECKING:
    from qmpd.errors import QmpError
    from qmpd.export.host import Listener, VhostUserListener
    from qmpd.export.vhost_user.device import MakeDevice
    from qmpd.loop.stream import Connect, Connection
    from qmpd.loop.task import Handle


class StreamPeer(Peer, Protocol):
    """The far end of a migration's stream, which tells why it takes no more."""

    @property
    def failure(self) -> str | None:
        """Why what was written has not been sent; None as long as all has been."""

    def fail(self, reason: str) -> None:
        """Send nothing any more: that is why."""


OpenStream = Callable[[StreamPeer], "Connection"]
"""Takes the far end of a stream, returns the near end."""


class StreamListener(Protocol):
    """A place where a migration's stream arrives."""

    @property
    def addresses(self) -> list[dict[str, Any]]:
        """SocketAddress of each socket that listens."""

    def close(self) -> None:
        """Wait for nothing any more; a socket's file goes."""

    def end(self) -> None:
        """Wait for nothing any more because the machine ends; a socket's file stays."""


class Host(ExportHost, Protocol):
    """A process that holds a machine; see `ExportHost` for how it listens."""

    @property
    def chardevs(self) -> CharDevices:
        """The character devices of the process."""

    @property
    def apart(self) -> Apart:
        """Does what takes long and touches nothing of the machine."""

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        """Connect to a server: see `qmpd.loop.stream.Dial`."""

    def print(self, text: str) -> None:
        """Write `text` to standard output, where HMP's qemu-io and blkdebug print.

        Never raises: who cannot be told does not hold up the machine.
        """

    def report(self, text: str) -> None:
        """Write `text` to standard error, where warnings go; never raises."""

    def report_alone(self, text: str) -> None:
        """The same outside of any command: a program says its name first."""

    def open_stream(
        self,
        address: Mapping[str, Any],
        connect: OpenStream,
        failed: Callable[[QmpError], None],
    ) -> Handle:
        """Begin to connect a migration's stream to `address`.

        :param address: MigrationAddress, plain JSON values
        :param connect: takes the far end, later or at once
        :param failed: told why there is none, later
        :returns: calls the attempt off
        :raises QmpError: there can be none
        :raises NotServed: this host has no streams
        """

    def await_stream(self, address: Mapping[str, Any], connect: OpenStream) -> StreamListener:
        """Wait for a migration's stream at `address`.

        :param address: MigrationAddress, plain JSON values
        :param connect: takes the far end
        :raises QmpError: it cannot come from there
        :raises NotServed: this host has no streams
        """

    def shut_down(self, reason: str) -> None:
        """The machine has been asked to end: answer the present command, and close it.

        :param reason: the ShutdownCause, such as ``host-qmp-quit`` or ``host-signal``
        """

    def abort(self) -> None:
        """End the process at once, as abort(3) does.

        :raises NotServed: the process is not the machine's to end
        """

    def exit(self, status: int) -> None:
        """End the process at once with `status`: nothing is closed or flushed.

        :raises NotServed: the process is not the machine's to end
        """

    def raise_signal(self, number: int) -> None:
        """Send the process signal `number`, as raise(3) does.

        :raises NotServed: the process is not the machine's to signal
        """

    def thread_of(self, name: str) -> int | None:
        """The id of a thread that stands for one of the guest's.

        :param name: what the thread is for, e.g. ``CPU 0``
        :returns: None if there is none, and the machine's own is to be told
        """


class NoHost:
    """The host of a machine that has no process of its own, such as one in a Python program.

    It does not listen, and it lets nobody end the process; it prints where Python does.
    """

    def listen(self, address: Mapping[str, Any], connect: Connect) -> Listener:
        """Refuse to listen for NBD clients.

        :raises NotServed: always
        """
        raise NotServed("The NBD server needs a machine that is served: this one has no sockets")

    def connect(
        self, address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
    ) -> Handle:
        """Refuse to connect to a server.

        :raises NotServed: always
        """
        return no_connection(address, connect, failed)

    def listen_vhost_user(
        self, address: Mapping[str, Any], make_device: MakeDevice, report: Callable[[str], None]
    ) -> VhostUserListener:
        """Refuse to listen for vhost-user clients.

        :raises NotServed: always
        """
        raise NotServed(
            "Exports of type 'vhost-user-blk' need a machine that is served:"
            " this one has no sockets"
        )

    def open_stream(
        self,
        address: Mapping[str, Any],
        connect: OpenStream,
        failed: Callable[[QmpError], None],
    ) -> Handle:
        """Refuse to open a stream.

        :raises NotServed: always
        """
        raise NotServed("Migration needs a machine that is served: this one has no sockets")

    def await_stream(self, address: Mapping[str, Any], connect: OpenStream) -> StreamListener:
        """Refuse to wait for a stream.

        :raises NotServed: always
        """
        raise NotServed("Migration needs a machine that is served: this one has no sockets")

    def print(self, text: str) -> None:
        """Write to Python's standard output."""
        write(sys.stdout, text)

    def report(self, text: str) -> None:
        """Write to Python's standard error."""
        write(sys.stderr, text)

    def report_alone(self, text: str) -> None:
        """Write like all else: a machine in a program has no name."""
        self.report(text)

    @property
    def apart(self) -> Apart:
        """Does it at once."""
        return Apart()

    @property
    def chardevs(self) -> CharDevices:
        """There are none, and none can be made."""
        return NoCharDevices()

    def shut_down(self, reason: str) -> None:
        """Do nothing: who holds the machine looks at `Machine.shutdown_reason`."""

    def abort(self) -> NoReturn:
        """Refuse to abort.

        :raises NotServed: always
        """
        raise NotServed("qmpd does not abort a process that the machine shares with others")

    def exit(self, status: int) -> NoReturn:
        """Refuse to end the process.

        :raises NotServed: always
        """
        raise NotServed("qmpd does not end a process that the machine shares with others")

    def raise_signal(self, number: int) -> None:
        """Refuse to signal.

        :raises NotServed: always
        """
        raise NotServed("qmpd does not signal a process that the machine shares with others")

    def thread_of(self, name: str) -> None:
        """Return nothing: the process has other things to do than to wait."""
