"""Where a monitor's output goes, and what it asks of whoever feeds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor


class Transport(Protocol):
    """The far side of a monitor: a character device, or a program that reads by itself."""

    @property
    def outlives_input(self) -> bool:
        """Whether output still arrives somewhere after the input has ended."""

    @property
    def backlog(self) -> int:
        """Bytes that were written and that the peer has not taken yet."""

    @property
    def congested(self) -> bool:
        """Whether the monitor should produce no more output for now."""

    def write(self, data: bytes) -> None:
        """Send `data`; it is lost when there is no peer."""

    def pause_input(self) -> None:
        """Feed nothing more until `resume_input`, if that can be helped."""

    def resume_input(self) -> None:
        """Feed again."""

    def disconnect(self) -> None:
        """Drop the peer, which does not read."""

    def take_descriptor(self) -> Descriptor | None:
        """Take the first descriptor that came with what was fed last; others with it are closed."""


class Output:
    """A transport inside the process: it keeps what is written until `take`.

    Whoever reads it also feeds the monitor, so it never asks for a pause: a monitor takes
    any number of bytes and gets to them one request at a time.

    :param write: called with each piece of output, which is then not kept
    :param lost: called in the place of `write` where an answer is lost: who reads here waits for
        each of them, and need not wait for that one
    """

    outlives_input = False
    backlog = 0
    congested = False

    def __init__(
        self,
        write: Callable[[bytes], None] | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self.lost = lost
        self.descriptor: Descriptor | None = None
        """What a program hands over with its next request."""
        self._kept: list[bytes] = []
        self.write: Callable[[bytes], None] = self._kept.append if write is None else write

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._kept)
        self._kept.clear()
        return data

    def pause_input(self) -> None:
        """The bytes wait in the monitor as well as anywhere."""

    def resume_input(self) -> None:
        """The monitor has the bytes already."""

    def disconnect(self) -> None:
        """Never asked for: there is no backlog."""

    def take_descriptor(self) -> Descriptor | None:
        """Take what the program has handed over."""
        descriptor, self.descriptor = self.descriptor, None
        return descriptor
