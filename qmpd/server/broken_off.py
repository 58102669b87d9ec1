"""Connections that their peers have broken off: they are watched on.

libuv, which uvloop is made of, watches a descriptor that has an error no more, once it has called
back; but there may be more to read than one piece, before the error.
"""

from __future__ import annotations

import select
from asyncio import AbstractEventLoop
from collections.abc import Callable


def watch_on(loop: AbstractEventLoop, fd: int, callback: Callable[[], None]) -> None:
    """See to it that `callback` is called again where `fd`, which it is a reader of, has an error.

    To be called after something has been read, unless an answer has been written since: that
    fails where the peer has broken off.
    """
    poll = select.poll()
    poll.register(fd, 0)
    if any(events & select.POLLERR for _, events in poll.poll(0)):
        watch_again(loop, fd, callback)


def watch_again(loop: AbstractEventLoop, fd: int, callback: Callable[[], None]) -> None:
    """Watch `fd`, which `callback` is a reader of, again: an error has been read from it."""
    loop.remove_reader(fd)
    loop.add_reader(fd, callback)
