"""Interfaces between the parts of the job core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qmpd.base.newest_first import NewestFirst

if TYPE_CHECKING:
    from qmpd.block.manners import Manners
    from qmpd.jobs.core.states import JobStatus
    from qmpd.loop.clock import Clock
    from qmpd.loop.events import Emit


class Listing(Protocol):
    """The list of jobs, as a job sees it."""

    emit: Emit
    """Takes events."""
    clock: Clock
    """Runs the work."""
    manners: Manners
    """The ways of the version."""

    @property
    def jobs(self) -> NewestFirst[Any]:
        """All jobs."""

    def get(self, job_id: str) -> Any:
        """The job with this id, or None."""


class Member(Protocol):
    """A job, as its transaction sees it."""

    auto_finalize: bool

    @property
    def completed(self) -> bool:
        """Whether its work has ended."""

    def move(self, status: JobStatus) -> None:
        """Change its state."""

    def emit_pending(self) -> None:
        """Emit the event that it waits for verb finalize."""

    def request_cancel(self, *, force: bool) -> None:
        """Mark it as cancelled."""

    async def until_completed(self) -> None:
        """Wait until its work has ended after a cancellation."""

    async def prepare_end(self) -> bool:
        """Do the last part that may fail; returns whether it succeeded."""

    async def end(self) -> None:
        """Commit or abort, and conclude."""
