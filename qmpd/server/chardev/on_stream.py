"""What the backends with a peer behind one stream have in common."""

from __future__ import annotations

from qmpd.base.override import override
from qmpd.server.chardev.chardev import Chardev
from qmpd.server.chardev.stream import Stream, StreamUser


class StreamChardev(Chardev, StreamUser):
    """A backend whose peer, while there is one, is at the other end of a `Stream`."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._stream: Stream | None = None

    @property
    @override
    def backlog(self) -> int:
        return 0 if self._stream is None else self._stream.backlog

    @property
    @override
    def congested(self) -> bool:
        return self._stream is not None and self._stream.congested

    @override
    def stream_received(self, data: bytes) -> None:
        if self.frontend is not None:
            self.frontend.feed(data)

    @override
    def stream_drained(self) -> None:
        if self.frontend is not None:
            self.frontend.drained()

    @override
    def write(self, data: bytes) -> None:
        if self._stream is not None:
            self._stream.write(data)

    @override
    def pause_input(self) -> None:
        if self._stream is not None:
            self._stream.pause()

    @override
    def resume_input(self) -> None:
        if self._stream is not None:
            self._stream.resume()
