"""What the parts of the job core know of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qmpd.base.newest_first import NewestFirst

if TYPE_CHECKING:
    from qmpd.jobs.core.states import JobStatus
    from qmpd.loop.clock import Clock
    from qmpd.loop.events import Emit


class Listing(Protocol):
    """Where a job is listed."""

    emit: Emit
    """Takes events."""
    clock: Clock
    """Runs the work."""
    ending: int
    """How many jobs are between the end of their work and their own."""

    @property
    def jobs(self) -> NewestFirst[Any]:
        """All jobs."""

    def get(self, job_id: str) -> Any:
        """The job of this id; None if there is none."""


class Member(Protocol):
    """A job, as those see it that complete together with it."""

    auto_finalize: bool

    @property
    def completed(self) -> bool:
        """Whether its work has ended."""

    def move(self, status: JobStatus) -> None:
        """Change its state."""

    def emit_pending(self) -> None:
        """Tell that it waits for verb finalize."""

    def request_cancel(self, *, force: bool) -> None:
        """Note that it is to be cancelled."""

    async def until_completed(self) -> None:
        """Wait until its work has ended, once it was cancelled."""

    async def prepare_end(self) -> bool:
        """Do the last that may fail; returns whether all is well."""

    async def end(self) -> None:
        """Commit or abort, and conclude."""
