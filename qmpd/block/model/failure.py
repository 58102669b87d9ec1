"""What a request that runs by itself has failed with: whoever waits for it has to be told."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Final

from qmpd.errors import BlockIOError

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock

LOG: Final = logging.getLogger("qmpd.block")


def failure_of(error: Exception, loop: Clock) -> BlockIOError:
    """The failure of a request that has ended with `error`.

    Where there was no memory it is ENOMEM, and EIO where something happened that must not.  Who
    keeps it does not keep what the request was about: data, in the frames that it has come through.
    """
    if isinstance(error, BlockIOError):
        error.__traceback__ = error.__context__ = None
        return error
    if isinstance(error, MemoryError):
        loop.no_memory()
        return BlockIOError(errno.ENOMEM)
    LOG.error("a request failed in a way it must not", exc_info=error)
    return BlockIOError(errno.EIO)
