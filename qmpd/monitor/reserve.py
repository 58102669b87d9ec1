"""Memory that is kept by for the time when there is no other.

When an allocation has failed the reserve is let go: there is enough again to answer, and to run
what gives memory back.  Everything else is refused until the reserve can be put by anew.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from qmpd.errors import GenericError

PIECE: Final = 1 << 16
"""Bytes of a piece of the reserve: these are found where much small was freed, too."""
PIECES: Final = 64

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


class Reserve:
    """That of a process."""

    def __init__(self) -> None:
        self._kept: list[bytearray] | None = None
        self._put_by()

    def _put_by(self) -> bool:
        """Find memory for it; returns whether there is enough."""
        try:
            self._kept = [bytearray(PIECE) for _ in range(PIECES)]
        except MemoryError:
            return False
        return True

    def spend(self) -> None:
        """Let it go: an allocation has failed."""
        self._kept = None

    def refuse(self, command: str) -> Coroutine[Any, Any, Any] | None:
        """What takes the place of a command that is not run now; None: it is run."""
        if self._kept is not None or command in GIVES_BACK or self._put_by():
            return None
        return refused()
