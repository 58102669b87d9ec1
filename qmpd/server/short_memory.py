"""When memory is used up, clients are told so, and can give some back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qmpd.monitor.reserve import Reserve

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.monitor.dispatcher import Dispatcher

LOG = logging.getLogger("qmpd.server")


def keep_reserve(loop: AbstractEventLoop, dispatcher: Dispatcher) -> None:
    """Keep some memory by, which is let go when a callback of the loop, or a command, finds none.

    What has come on a socket is read in the loop's next round then.
    """
    reserve = dispatcher.reserve = Reserve()

    def unforeseen(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), MemoryError):
            reserve.spend()
            LOG.error("there is no memory left")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(unforeseen)
