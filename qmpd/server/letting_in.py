"""Letting clients in, as long as the process may have more descriptors."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

LOG = logging.getLogger("qmpd.server")

REST: Final = 0.5
"""Seconds for which nobody is let in, once there are no descriptors."""

_NONE_LEFT: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Door:
    """Sockets that listen, and whether anybody is let in there now.

    Where the process has no descriptors left the sockets are left alone for a while: they would be
    reported as readable again and again.

    :param let_in: takes each client
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        let_in: Callable[[socket.socket], None],
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._loop = loop
        self._let_in = let_in
        self.sockets = list(sockets)
        self._open = False
        self._rest: TimerHandle | None = None
        self._told = False

    def open(self) -> None:
        """Let clients in."""
        if self._open:
            return
        self._open = True
        if self._rest is None:
            self._watch()

    def close(self) -> None:
        """Let further clients wait."""
        if not self._open:
            return
        self._open = False
        if self._rest is None:
            self._unwatch()
        else:
            self._rest.cancel()
            self._rest = None

    def close_for_good(self) -> None:
        """Let nobody in any more, whoever says so later: the sockets are about to be closed."""
        self.close()
        self.sockets = []

    def _watch(self) -> None:
        for listener in self.sockets:
            listener.setblocking(False)
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _unwatch(self) -> None:
        for listener in self.sockets:
            self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            if error.errno in _NONE_LEFT:
                self._take_rest(error)
            else:
                LOG.debug("no client: %s", error)
            return
        self._told = False
        self._let_in(sock)

    def _take_rest(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            LOG.warning("nobody can be let in for now: %s", error.strerror)
        self._unwatch()
        self._rest = self._loop.call_later(REST, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        if self._open:
            self._watch()
