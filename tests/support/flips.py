"""Pauses of jobs for changes of the graph, of which QEMU has more or fewer from run to run."""

from __future__ import annotations

from typing import Any


class Flips:
    """Tells the changes of a job's state to and fro that come with drained sections.

    How many there are, and where, varies from run to run of QEMU itself.
    """

    def __init__(self) -> None:
        self._still: set[str] = set()

    def is_flip(self, message: Any) -> bool:
        """Whether the next message is one of those changes."""
        if message.get("event") != "JOB_STATUS_CHANGE":
            return False
        job, status = message["data"]["id"], message["data"]["status"]
        if status in ("paused", "standby"):
            self._still.add(job)
            return True
        was_still = job in self._still
        self._still.discard(job)
        return was_still and status in ("running", "ready")
