"""Character devices: QEMU's byte channels between the outside and a frontend.

A backend (`-chardev`) is a socket, standard input and output, or nothing at
all; a frontend (a QMP monitor, the human monitor, the qtest channel) is
attached to it and is told when a peer comes, speaks and goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.base.ghash import GHashTable
from qmpd.errors import GenericError
from qmpd.monitor.transport import Transport

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor


class Frontend(Protocol):
    """What uses a character device; every `qmpd.monitor.monitor.Monitor` is one."""

    def opened(self) -> None:
        """A peer is there."""

    def feed(self, data: bytes) -> None:
        """The peer sent `data`; not called while input is paused."""

    def closed(self) -> None:
        """The peer has gone."""

    def drained(self) -> None:
        """Output that was congested has room again."""


class Chardev(Transport):
    """Base of all backends; its defaults describe one that has no peer and swallows output.

    A backend is what a monitor writes to (its `Transport`) and is fed by.

    :param label: its id
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.frontend: Frontend | None = None
        self.is_open = False
        self.number = 0
        """How many were made before it in its table, and itself."""
        self.log: LogFile | None = None
        """Takes all that is written (``logfile``)."""

    @property
    def filename(self) -> str:
        """What query-chardev says of the backend."""
        raise NotImplementedError

    @property
    def inherited(self) -> bool:
        """Whether it is on a descriptor that the process was given when it began."""
        return False

    @property
    def outlives_input(self) -> bool:
        """Whether what is written still goes somewhere when the input has ended."""
        return False

    @property
    def backlog(self) -> int:
        """Bytes written that the peer has not taken."""
        return 0

    @property
    def congested(self) -> bool:
        """Whether the frontend should produce no more output for now."""
        return False

    @property
    def busy(self) -> bool:
        """Whether something uses it."""
        return self.frontend is not None

    @property
    def frontend_open(self) -> bool:
        """Whether query-chardev says that somebody is at its other end."""
        frontend = self.frontend
        return frontend.busy if isinstance(frontend, Chardev) else frontend is not None

    def attach(self, frontend: Frontend) -> None:
        """Connect the one frontend.

        :raises GenericError: when the backend has one
        """
        if self.frontend is not None:
            raise GenericError(f"chardev '{self.label}' is already in use")
        self.frontend = frontend
        if self.is_open:
            frontend.opened()

    def _opened(self) -> None:
        """There is a peer now (CHR_EVENT_OPENED)."""
        self.is_open = True
        if self.frontend is not None:
            self.frontend.opened()

    def _closed(self) -> None:
        """There is no peer any more (CHR_EVENT_CLOSED)."""
        self.is_open = False
        if self.frontend is not None:
            self.frontend.closed()

    def write(self, data: bytes) -> None:
        """Send `data` to the peer, and to the log file where there is one."""
        if self.log is not None:
            self.log.write(data)
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send `data` to the peer; without one it is lost."""

    def pause_input(self) -> None:
        """Deliver no input until `resume_input`."""

    def resume_input(self) -> None:
        """Deliver input again, soon."""

    def disconnect(self) -> None:
        """Drop the peer, keep the backend."""

    def take_descriptor(self) -> Descriptor | None:
        """Nobody hands over descriptors here."""
        return None

    def start(self) -> None:
        """Begin to serve: called when the event loop is about to run."""

    def close(self) -> None:
        """Give everything back."""


class LogFile(Protocol):
    """A file that output is written to as well."""

    def write(self, data: bytes) -> None:
        """Add `data`; what does not fit is lost."""

    def close(self) -> None:
        """Close it."""


class NullChardev(Chardev):
    """Backend ``null``: swallows output, has no input.

    :param kind: another kind that does the same, such as a virtual console without a display
    """

    def __init__(self, label: str, kind: str = "null") -> None:
        super().__init__(label)
        self._kind = kind
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return self._kind


class RingbufChardev(Chardev):
    """Backend ``ringbuf``: keeps the last bytes written for ringbuf-read.

    :param size: capacity in bytes, a power of two or 0
    :param kind: ``memory``, which is its other name
    :raises GenericError: for any other size
    """

    def __init__(self, label: str, size: int = 65536, kind: str = "ringbuf") -> None:
        super().__init__(label)
        if size < 0 or size & (size - 1):
            raise GenericError("size of ringbuf chardev must be power of two")
        self._size = size
        self._kind = kind
        self._bytes = bytearray()
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return self._kind

    def send(self, data: bytes) -> None:
        """Keep `data`, dropping the oldest bytes."""
        self._bytes += data
        del self._bytes[: max(0, len(self._bytes) - self._size)]

    def read(self, size: int) -> bytes:
        """Take up to `size` of the oldest bytes out."""
        taken = bytes(self._bytes[:size])
        del self._bytes[:size]
        return taken


class ChardevTable:
    """The backends of one process by id, in the order in which QEMU lists them."""

    def __init__(self) -> None:
        self.by_label: GHashTable[Chardev] = GHashTable()
        self.named: set[str] = set()
        """The ids that the command line has given, which nothing frees."""
        self._added = 0

    def add(self, chardev: Chardev) -> None:
        """Enter a new backend.

        :raises GenericError: when its id is taken
        """
        if chardev.label in self.by_label:
            raise GenericError(
                f"attempt to add duplicate property '{chardev.label}' to object (type 'container')"
            )
        self.by_label[chardev.label] = chardev
        self._added += 1
        chardev.number = self._added

    def find(self, label: str) -> Chardev | None:
        """The backend with this id."""
        return self.by_label.get(label)

    def infos(self) -> list[dict[str, Any]]:
        """ChardevInfo of every backend (query-chardev)."""
        return [
            {
                "label": chardev.label,
                "filename": chardev.filename,
                "frontend-open": chardev.frontend_open,
            }
            for chardev in reversed(list(self))
        ]

    def oldest_first(self) -> list[Chardev]:
        """All of them, the oldest first."""
        return sorted(self, key=lambda chardev: chardev.number)

    def __iter__(self) -> Iterator[Chardev]:
        return iter(list(self.by_label.values()))

    def close(self) -> None:
        """Close all of them."""
        for chardev in self:
            self.drop(chardev)

    def drop(self, chardev: Chardev) -> None:
        """Close one, and forget it."""
        del self.by_label[chardev.label]
        chardev.close()
        if chardev.log is not None:
            chardev.log.close()
