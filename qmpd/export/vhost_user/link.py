"""The connection that a vhost-user device serves, as the device sees it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol


class Link(Protocol):
    """The connection that a device belongs to."""

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `fd` can be read.

        :raises OSError: the descriptor cannot be polled
        """

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""

    def later(self, callback: Callable[[], None]) -> None:
        """Call `callback` after other callbacks that are ready."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request; the connection outlives it."""

    def cut(self) -> None:
        """End the connection."""
