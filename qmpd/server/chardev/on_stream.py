"""What the backends with a peer behind one stream have in common."""

from __future__ import annotations

from qmpd.base.descriptor import Descriptor
from qmpd.base.override import override
from qmpd.server.chardev.chardev import Chardev
from qmpd.server.chardev.stream import Stream, StreamUser


class StreamChardev(Chardev, StreamUser):
    """A backend whose peer, while there is one, is at the other end of a `Stream`."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._stream: Stream | None = None
        self._handed_over: list[Descriptor] = []

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
    def stream_handed_over(self, descriptors: list[int]) -> None:
        """Keep them until the next ones come, or the peer goes."""
        self._forget_descriptors()
        self._handed_over = [Descriptor(number) for number in descriptors]

    @override
    def take_descriptor(self) -> Descriptor | None:
        taken = self._handed_over.pop(0) if self._handed_over else None
        self._forget_descriptors()
        return taken

    def _forget_descriptors(self) -> None:
        for descriptor in self._handed_over:
            descriptor.close()
        self._handed_over = []

    @override
    def stream_drained(self) -> None:
        if self.frontend is not None:
            self.frontend.drained()

    @override
    def send(self, data: bytes) -> None:
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
