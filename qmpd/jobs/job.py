"""Jobs: long operations that a client starts, watches and steers by their id."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.block.names import is_wellformed
from qmpd.clock import Task, Waiter
from qmpd.errors import BlockIOError, DeviceNotActive, GenericError, QmpError
from qmpd.jobs.states import TRANSITIONS, VERBS, JobStatus, JobVerb

if TYPE_CHECKING:
    from qmpd.clock import Clock
    from qmpd.events import Emit


class Job:
    """One job; a subclass says what it does in `run`.

    :param table: where it is listed
    :param job_id: its id, unique among jobs until it is dismissed
    :raises GenericError: the id is malformed, or in use
    """

    job_type: ClassVar[str]
    is_block_job: ClassVar[bool] = False

    def __init__(
        self,
        table: JobTable,
        job_id: str,
        *,
        auto_finalize: bool = True,
        auto_dismiss: bool = True,
    ) -> None:
        if not is_wellformed(job_id):
            raise GenericError(f"Invalid job ID '{job_id}'")
        if job_id in table.jobs:
            raise GenericError(f"Job ID '{job_id}' already in use")
        self.table = table
        self.id = job_id
        self.auto_finalize = auto_finalize
        self.auto_dismiss = auto_dismiss
        self.status = JobStatus.UNDEFINED
        self.error: QmpError | None = None
        self.cancelled = False
        self.user_paused = False
        self.progress_current = 0
        self.progress_total = 0
        self._task: Task | None = None
        self._resumed: Waiter | None = None
        table.jobs[job_id] = self
        self._move(JobStatus.CREATED)

    async def run(self) -> None:
        """The work.

        :raises QmpError: the job fails with it
        """
        raise NotImplementedError

    def start(self) -> None:
        """Begin to run; the work's first step is taken once the caller has returned."""
        self._move(JobStatus.RUNNING)
        self._task = self.table.clock.spawn(self.run(), f"job {self.id}", self._ran)

    async def pause_point(self) -> None:
        """Where the work may stand still: wait here while the job is paused."""
        while self.user_paused and not self.cancelled:
            self._move(JobStatus.PAUSED)
            self._resumed = Waiter()
            await self._resumed
            self._resumed = None
            self._move(JobStatus.RUNNING)

    def info(self) -> dict[str, Any]:
        """JobInfo, members in schema order."""
        info: dict[str, Any] = {
            "id": self.id,
            "type": self.job_type,
            "status": self.status.value,
            "current-progress": self.progress_current,
            "total-progress": self.progress_total,
        }
        if self.error is not None:
            info["error"] = self.error.desc
        return info

    def apply(self, verb: JobVerb) -> None:
        """Check that `verb` is accepted in this state.

        :raises GenericError: it is not
        """
        if self.status not in VERBS[verb]:
            raise GenericError(
                f"Job '{self.id}' in state '{self.status.value}' cannot accept command verb"
                f" '{verb.value}'"
            )

    def pause(self) -> None:
        """Verb pause: stand still at the next point where the work can."""
        self.apply(JobVerb.PAUSE)
        if self.user_paused:
            raise GenericError("Job is already paused")
        self.user_paused = True

    def resume(self) -> None:
        """Verb resume."""
        if not self.user_paused:
            raise GenericError("Can't resume a job that was not paused")
        self.apply(JobVerb.RESUME)
        self.user_paused = False
        if self._resumed is not None:
            self._resumed.wake()

    def cancel(self) -> None:
        """Verb cancel: the job ends, as cancelled, as soon as its work allows."""
        self.apply(JobVerb.CANCEL)
        self.cancelled = True
        if self.status is JobStatus.PENDING:
            self._abort()
        elif self._resumed is not None:
            self._resumed.wake()

    def complete(self) -> None:
        """Verb complete: only jobs that get ready can be completed."""
        self.apply(JobVerb.COMPLETE)

    def finalize(self) -> None:
        """Verb finalize: a pending job ends."""
        self.apply(JobVerb.FINALIZE)
        self._conclude()

    def dismiss(self) -> None:
        """Verb dismiss: a concluded job is forgotten."""
        self.apply(JobVerb.DISMISS)
        self._forget()

    def change(self) -> None:
        """Verb change: no job type here can be changed."""
        raise GenericError("Job type does not support change")

    def _move(self, status: JobStatus) -> None:
        assert status in TRANSITIONS[self.status], (self.status, status)
        self.status = status
        self.table.emit("JOB_STATUS_CHANGE", {"id": self.id, "status": status.value})

    def _ran(self, task: Task) -> None:
        if task.error is not None:
            if not isinstance(task.error, QmpError):
                self.error = GenericError("Input/output error")
                self._abort()
                raise task.error
            self.error = task.error
        if self.cancelled or self.error is not None:
            self._abort()
            return
        self._move(JobStatus.WAITING)
        self._move(JobStatus.PENDING)
        if self.auto_finalize:
            self._conclude()

    def _abort(self) -> None:
        if self.error is None:
            self.error = GenericError("Operation canceled")
        self._move(JobStatus.ABORTING)
        self._conclude()

    def _conclude(self) -> None:
        self._move(JobStatus.CONCLUDED)
        self.table.concluded(self)
        if self.auto_dismiss:
            self._forget()

    def _forget(self) -> None:
        self._move(JobStatus.NULL)
        del self.table.jobs[self.id]


class JobTable:
    """All jobs of one machine, by id, the oldest first."""

    def __init__(self, *, emit: Emit, clock: Clock) -> None:
        self.emit = emit
        self.clock = clock
        self.jobs: dict[str, Job] = {}
        self._waiting: list[Callable[[], None]] = []

    def find(self, job_id: str) -> Job:
        """The job a job-* command means.

        :raises GenericError: there is none
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise GenericError("Job not found")
        return job

    def find_block_job(self, job_id: str) -> Job:
        """The job a block-job-* command means.

        :raises DeviceNotActive: there is none, or it is no block job
        """
        job = self.jobs.get(job_id)
        if job is None or not job.is_block_job:
            raise DeviceNotActive(f"Block job '{job_id}' not found")
        return job

    def query_jobs(self) -> list[dict[str, Any]]:
        """Command query-jobs: the newest first."""
        return [job.info() for job in reversed(self.jobs.values())]

    def query_block_jobs(self) -> list[dict[str, Any]]:
        """Command query-block-jobs: the newest first."""
        return [job.info() for job in reversed(self.jobs.values()) if job.is_block_job]

    def concluded(self, job: Job) -> None:
        """A job tells that it has concluded."""
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    async def cancel_all(self) -> None:
        """Cancel every job, wait until all have ended, and forget them."""
        for job in list(self.jobs.values()):
            if job.status in VERBS[JobVerb.CANCEL]:
                job.cancel()
        while any(job.status is not JobStatus.CONCLUDED for job in self.jobs.values()):
            waiter = Waiter()
            self._waiting.append(waiter.wake)
            await waiter
        for job in list(self.jobs.values()):
            job.dismiss()


def io_error(error: BlockIOError) -> GenericError:
    """The errno's own words for an error that carries no better ones."""
    return GenericError(error.desc or os.strerror(error.errno))
