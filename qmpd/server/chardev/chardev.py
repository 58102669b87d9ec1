"""Character devices: QEMU's byte channels between the outside and a frontend.

A backend (`-chardev`) is a socket, standard input and output, or nothing at
all; a frontend (a QMP monitor, the human monitor, the qtest channel) is
attached to it and is told when a peer comes, speaks and goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

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

    def attach(self, frontend: Frontend) -> None:
        """Connect the one frontend.

        :raises GenericError: when the backend has one
        """
        if self.frontend is not None:
            raise GenericError(f"chardev '{self.label}' is already in use")
        self.frontend = frontend
        if self.is_open:
            frontend.opened()

    def write(self, data: bytes) -> None:
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


class NullChardev(Chardev):
    """Backend ``null``: swallows output, has no input."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "null"


class RingbufChardev(Chardev):
    """Backend ``ringbuf``: keeps the last bytes written for ringbuf-read.

    :param size: capacity in bytes, a power of two
    :raises GenericError: for any other size
    """

    def __init__(self, label: str, size: int = 65536) -> None:
        super().__init__(label)
        if size <= 0 or size & (size - 1):
            raise GenericError("size of ringbuf chardev must be power of two")
        self._size = size
        self._bytes = bytearray()
        self.is_open = True

    @property
    def filename(self) -> str:
        """As QEMU names it."""
        return "ringbuf"

    def write(self, data: bytes) -> None:
        """Keep `data`, dropping the oldest bytes."""
        self._bytes += data
        del self._bytes[: max(0, len(self._bytes) - self._size)]

    def read(self, size: int) -> bytes:
        """Take up to `size` of the oldest bytes out."""
        taken = bytes(self._bytes[:size])
        del self._bytes[:size]
        return taken


@dataclass
class ChardevTable:
    """The backends of one process by id."""

    by_label: dict[str, Chardev] = field(default_factory=dict)

    def add(self, chardev: Chardev) -> None:
        """Enter a new backend.

        :raises GenericError: when its id is taken
        """
        if chardev.label in self.by_label:
            raise GenericError(
                f"attempt to add duplicate property '{chardev.label}' to object (type 'container')"
            )
        self.by_label[chardev.label] = chardev

    def find(self, label: str) -> Chardev | None:
        """The backend with this id."""
        return self.by_label.get(label)

    def infos(self) -> list[dict[str, Any]]:
        """ChardevInfo of every backend (query-chardev)."""
        return [
            {
                "label": chardev.label,
                "filename": chardev.filename,
                "frontend-open": chardev.frontend is not None,
            }
            for chardev in self
        ]

    def __iter__(self) -> Iterator[Chardev]:
        return iter(list(self.by_label.values()))

    def close(self) -> None:
        """Close all of them."""
        for chardev in self:
            chardev.close()
        self.by_label.clear()
