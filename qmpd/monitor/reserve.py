"""Memory that is kept by for the time when there is no other.

When an allocation has failed the reserve is let go: there is enough again to answer, and to run
what gives memory back.  Everything else is refused until the reserve can be put by anew, and
while there is little beside it.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Coroutine
from typing import Any, Final, Protocol
from weakref import WeakSet

from qmpd.base.memory import PIECE, there_is
from qmpd.errors import GenericError

LOG: Final = logging.getLogger("qmpd.server")

PIECES: Final = 64
"""The reserve is in pieces."""

TOGETHER: Final = 64
"""Commands that are run after one look at what memory there is."""
AHEAD: Final = 8 << 20
"""Bytes that are enough for these.

Libraries in C and Rust that find no memory end the process: better not to begin.
"""

GIVES_BACK: Final = frozenset(
    (
        "qmp_capabilities",
        "quit",
        "query-status",
        "block-dirty-bitmap-clear",
        "block-dirty-bitmap-remove",
        "blockdev-del",
        "blockdev-close-tray",
        "blockdev-remove-medium",
        "block-job-cancel",
        "block-job-dismiss",
        "job-cancel",
        "job-dismiss",
        "block-export-del",
        "nbd-server-remove",
        "nbd-server-stop",
        "device_del",
        "object-del",
        "netdev_del",
        "chardev-remove",
        # of the human monitor alone
        "drive_del",
        "block_job_cancel",
        "object_del",
        "nbd_server_remove",
        "nbd_server_stop",
        "q",
    )
)
"""Commands that are run without it."""


def no_memory() -> GenericError:
    """What a client is told of a command for which there is no memory."""
    return GenericError("qmpd has not enough memory for this command")


async def refused() -> Any:
    """Stand for a command that is not run.

    :raises GenericError: always
    """
    raise no_memory()


class Shrinkable(Protocol):
    """Something that can do with less memory."""

    def shrink(self) -> None:
        """Give some back; that takes none."""


class Reserve:
    """That of a process."""

    def __init__(self) -> None:
        self.shrinkable: WeakSet[Shrinkable] = WeakSet()
        """What becomes smaller each time that an allocation has failed."""
        self._kept: list[bytearray] | None = None
        self._is_enough = self._put_by()
        self._commands = 0

    def _put_by(self) -> bool:
        """Find memory for it; returns whether there is enough."""
        try:
            self._kept = [bytearray(PIECE) for _ in range(PIECES)]
        except MemoryError:
            return False
        return True

    def spend(self) -> None:
        """Let it go: an allocation has failed."""
        if self._kept is not None:
            self._kept = None
            self._is_enough = False
            LOG.error("there is no memory left")
            gc.collect()
        self._shrink()

    def _shrink(self) -> None:
        for one in self.shrinkable:
            one.shrink()

    def refuse(self, command: str) -> Coroutine[Any, Any, Any] | None:
        """What takes the place of a command that is not run now; None: it is run."""
        gives_back = command in GIVES_BACK
        if self._is_enough or gives_back:
            self._commands += 1
            if self._commands < TOGETHER:
                return None
        return None if self._look() or gives_back else refused()

    def _look(self) -> bool:
        """Whether there is enough for some commands: what is written in C may not stand less."""
        self._commands = 0
        self._is_enough = self._is_there()
        if not self._is_enough:
            self._shrink()
            self._is_enough = self._is_there()
        return self._is_enough

    def _is_there(self) -> bool:
        return (self._kept is not None or self._put_by()) and there_is(AHEAD)
