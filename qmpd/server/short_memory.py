"""What a process does about its memory: some is kept by, what is free is given back.

When memory is used up, clients are told so, and can give some back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qmpd.monitor.reserve import Reserve
from qmpd.server.giving_back import GivingBack

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.loop.clock import Clock
    from qmpd.monitor.dispatcher import Dispatcher
    from qmpd.monitor.reserve import Shrinkable


class ProcessMemory:
    """The memory of a process that serves machines on an event loop.

    :param dispatcher: returns that of the first machine's commands
    """

    def __init__(self, loop: AbstractEventLoop, dispatcher: Callable[[], Dispatcher]) -> None:
        self._loop = loop
        self._giving_back = GivingBack(loop, dispatcher)
        self._reserve: Reserve | None = None

    def start(self) -> None:
        """Begin to give back what is free."""
        self._giving_back.start()

    def end(self) -> None:
        """Give nothing back any more."""
        self._giving_back.end()

    def keep_reserve(
        self, dispatcher: Dispatcher, clock: Clock, shrinkable: Shrinkable | None = None
    ) -> None:
        """Keep some memory by for a machine; all of them share it.

        It is let go when a callback of the loop, a command or a request finds none.  What has come
        on a socket is read in the loop's next round then.

        :param dispatcher: of the machine's commands
        :param clock: the machine's
        :param shrinkable: what else there is of the machine that gives memory back then
        """
        if self._reserve is None:
            self._reserve = Reserve()
            self._loop.set_exception_handler(self._unforeseen)
        if shrinkable is not None:
            self._reserve.shrinkable.add(shrinkable)
        dispatcher.reserve = self._reserve
        clock.on_no_memory = self._reserve.spend

    def _unforeseen(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._reserve is not None and isinstance(context.get("exception"), MemoryError):
            self._reserve.spend()
        else:
            loop.default_exception_handler(context)
