"""What the backends with a peer behind one stream have in common."""

from __future__ import annotations

from qmpd.server.chardev.chardev import Chardev
from qmpd.server.chardev.stream import Stream


class StreamChardev(Chardev):
    """A backend whose peer, while there is one, is at the other end of a `Stream`."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._stream: Stream | None = None

    @property
    def backlog(self) -> int:
        """See `Chardev.backlog`."""
        return 0 if self._stream is None else self._stream.backlog

    @property
    def congested(self) -> bool:
        """See `Chardev.congested`."""
        return self._stream is not None and self._stream.congested

    def stream_received(self, data: bytes) -> None:
        """See `StreamUser`."""
        if self.frontend is not None:
            self.frontend.feed(data)

    def stream_drained(self) -> None:
        """See `StreamUser`."""
        if self.frontend is not None:
            self.frontend.drained()

    def write(self, data: bytes) -> None:
        """See `Chardev.write`."""
        if self._stream is not None:
            self._stream.write(data)

    def pause_input(self) -> None:
        """See `Chardev.pause_input`."""
        if self._stream is not None:
            self._stream.pause()

    def resume_input(self) -> None:
        """See `Chardev.resume_input`."""
        if self._stream is not None:
            self._stream.resume()
