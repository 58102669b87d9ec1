"""Jobs: long operations that a client starts, observes and controls by their id.

A `Job` is driven by the verbs of a client and by its own work, the coroutine `run`, which is
entered and suspended as `qmpd.jobs.core.job_work` says.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.base.identifiers import id_wellformed
from qmpd.block.io.progress import ProgressMeter
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.jobs.core.job_txn import JobTxn
from qmpd.jobs.core.job_work import JobWork
from qmpd.jobs.core.states import COMPLETED, READY, VERBS, JobStatus, JobVerb
from qmpd.loop.task import Task

if TYPE_CHECKING:
    from qmpd.jobs.core.protocols import Listing


class Job(JobWork):
    """A job; subclasses implement `run` and what happens at the end.

    :param table: the list of jobs that it is added to
    :param job_id: its id, unique among jobs until it is dismissed
    :param txn: the jobs it completes together with; none if absent
    :param auto_finalize: end by itself once the work is done
    :param auto_dismiss: be forgotten by itself once concluded
    :raises GenericError: the id is malformed, or in use
    """

    job_type: ClassVar[str]
    can_complete: ClassVar[bool] = False
    """Whether verb complete means something for this type."""

    def __init__(
        self,
        table: Listing,
        job_id: str,
        *,
        txn: JobTxn | None = None,
        auto_finalize: bool = True,
        auto_dismiss: bool = True,
    ) -> None:
        if not id_wellformed(job_id):
            raise GenericError(f"Invalid job ID '{job_id}'")
        if table.get(job_id) is not None:
            raise GenericError(f"Job ID '{job_id}' already in use")
        super().__init__(table, job_id)
        self.auto_finalize = auto_finalize
        self.auto_dismiss = auto_dismiss
        self.error: QmpError | None = None
        self.progress = ProgressMeter()
        self.user_paused = False
        self.cancel_requested = False
        self.cancel_forced = False
        """Whether it was cancelled by force, where a gentle cancellation counts as well."""
        self._keepers = 0
        self.txn = JobTxn() if txn is None else txn
        self.move(JobStatus.CREATED)
        table.jobs.add(self)
        self.txn.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} {self.status.value}>"

    # What a job type defines

    async def run(self) -> None:
        """The work of the job.

        :raises QmpError: the error that the job fails with
        """
        raise NotImplementedError

    async def complete_work(self) -> None:
        """Verb complete: let the work come to its end (types with `can_complete` only)."""

    async def prepare(self) -> None:
        """Do the last part that may fail: the work of all members of the transaction is done.

        :raises QmpError: it fails; all members are aborted
        """

    async def commit(self) -> None:
        """Make the result final: all members have succeeded."""

    async def abort(self) -> None:
        """Undo: the job has failed or was cancelled, perhaps before it was started."""

    async def clean(self) -> None:
        """Release what is held, after commit or abort."""

    async def free(self) -> None:
        """Release what was kept while the job was listed."""

    def on_cancel(self, force: bool) -> bool:
        """Called on a cancellation; returns whether the job will end as cancelled."""
        return True

    def forget_io_errors(self) -> None:
        """The job is as if no request had failed; a pause by an error goes on."""

    def on_user_resume(self) -> None:
        """Called when a pause by the user or an error is ended by the user or a cancellation."""

    def emit_pending(self) -> None:
        """Called when the job waits for verb finalize; block jobs emit BLOCK_JOB_PENDING."""

    def emit_ready(self) -> None:
        """Called when the job has become ready; block jobs emit BLOCK_JOB_READY."""

    def emit_ended(self) -> None:
        """Called when a started job has completed or was cancelled; block jobs emit an event."""

    # State

    @property
    def completed(self) -> bool:
        """Whether the work has ended (job_is_completed)."""
        return self.status in COMPLETED

    @property
    def ready(self) -> bool:
        """Whether the job is in a state where verb complete is accepted."""
        return self.status in READY

    def info(self) -> dict[str, Any]:
        """JobInfo, members in schema order."""
        info: dict[str, Any] = {
            "id": self.id,
            "type": self.job_type,
            "status": self.status.value,
            "current-progress": self.progress.current,
            "total-progress": self.progress.total,
        }
        if self.error is not None:
            info["error"] = self.error.desc
        return info

    def become_ready(self) -> None:
        """Move to ready: the work has come as far as it can before verb complete."""
        self.move(JobStatus.READY)
        self.emit_ready()

    def check_verb(self, verb: JobVerb) -> None:
        """Check whether `verb` is accepted in this state (job_apply_verb).

        :raises GenericError: it is not
        """
        if not self._accepts(verb):
            raise GenericError(
                f"Job '{self.id}' in state '{self.status.value}' cannot accept command verb"
                f" '{verb.value}'"
            )

    def _accepts(self, verb: JobVerb) -> bool:
        if verb is JobVerb.COMPLETE and self.table.manners.paused_jobs_do_not_complete:
            return self.status is JobStatus.READY
        return self.status in VERBS[verb]

    # Verbs

    async def user_pause(self) -> None:
        """Verb pause."""
        self.check_verb(JobVerb.PAUSE)
        if self.user_paused:
            raise GenericError("Job is already paused")
        self.user_paused = True
        self.pause()

    async def user_resume(self) -> None:
        """Verb resume."""
        if not self.user_paused or self.pause_count <= 0:
            raise GenericError("Can't resume a job that was not paused")
        self.check_verb(JobVerb.RESUME)
        self.on_user_resume()
        self.user_paused = False
        self.resume()

    async def user_cancel(self, *, force: bool = True) -> None:
        """Verb cancel; without `force` a ready job may complete instead."""
        await self.txn.sweep_ended()
        self.check_verb(JobVerb.CANCEL)
        await self.cancel(force=force)

    async def user_complete(self) -> None:
        """Verb complete: end a ready job."""
        self.check_verb(JobVerb.COMPLETE)
        pausing = self.pause_count > 0 and self.table.manners.paused_jobs_do_not_complete
        if pausing or self.cancel_requested or not self.can_complete:
            raise GenericError(f"The active block job '{self.id}' cannot be completed")
        await self.complete_work()

    async def user_finalize(self) -> None:
        """Verb finalize: end this pending job and all members of its transaction."""
        await self.txn.sweep_ended()
        self.check_verb(JobVerb.FINALIZE)
        async with self._kept():
            await self.txn.finalize(self)

    async def user_dismiss(self) -> None:
        """Verb dismiss: remove a concluded job from the list."""
        self.check_verb(JobVerb.DISMISS)
        await self._forget()

    # Beginning and end

    def start(self) -> None:
        """Start the work; it has taken its first steps when this returns."""
        self._task = Task(self.table.clock, self._work(), f"job {self.id}", self._on_work_ended)
        self.pause_count -= 1
        self.busy = True
        self.paused = False
        self.move(JobStatus.RUNNING)
        self._task.step()

    async def _work(self) -> None:
        await self.pause_point()
        await self.run()

    def _on_work_ended(self, task: Task) -> None:
        self._work_ended = True
        self._notify()
        defect = task.error is not None and not isinstance(task.error, QmpError)
        if isinstance(task.error, QmpError):
            self.error = task.error
        elif defect:
            self.error = BlockIOError(errno.EIO)
        # Not now: whoever entered the job goes on first.
        self.table.clock.schedule_bh(self._begin_exit)
        if defect:
            self.table.clock.task_failed(task)

    def _begin_exit(self) -> Task:
        return self.table.clock.enter(self._exit(), f"end of job {self.id}")

    async def _exit(self) -> None:
        """Come to the end, once the work has ended (``job_exit``)."""
        self.busy = False
        with self.table.clock.nested_loop():
            async with self._kept():
                await self.table.clock.completions.patiently(self._work_done())

    async def _work_done(self) -> None:
        if self.completed:
            return
        self._update_result()
        if self.error is not None:
            await self.txn.abort(self)
        else:
            await self.txn.succeeded(self)

    def _update_result(self) -> None:
        if self.error is None and self.cancelled:
            self.error = BlockIOError(errno.ECANCELED)
        if self.error is not None:
            self.move(JobStatus.ABORTING)

    def request_cancel(self, *, force: bool) -> None:
        """Mark the job as cancelled; the caller must enter it or end it."""
        manners = self.table.manners
        if not manners.cancels_wait_for_requests:
            force = self.on_cancel(force)
        if self.user_paused:
            self.on_user_resume()
            self.user_paused = False
            self.pause_count -= 1
        if manners.gentle_cancels_count:
            self.cancel_requested = self.cancelled = True
            self.cancel_forced = self.cancel_forced or force
        elif force or not self._work_ended:
            self.cancel_requested = True
            self.cancelled = self.cancelled or force

    async def cancel(self, *, force: bool) -> None:
        """Cancel the job in any state; a concluded one is dismissed (job_cancel)."""
        await self.txn.sweep_ended()
        if self.status is JobStatus.CONCLUDED:
            await self._forget()
            return
        self.request_cancel(force=force)
        if not self.started:
            await self._work_done()
        elif not self._work_ended:
            self.enter()
        elif self.cancelled:
            await self.txn.abort(self)

    async def cancel_and_wait(self) -> None:
        """Cancel the job and wait until it has concluded."""
        await self.cancel(force=True)
        await self._until(lambda: self.status in (JobStatus.CONCLUDED, JobStatus.NULL))

    async def until_completed(self) -> None:
        """Wait until the work of a cancelled job has ended."""
        if not self.started:
            self._update_result()
        await self._until(lambda: self.completed)

    async def prepare_end(self) -> bool:
        """Run `prepare`; returns whether the job has not failed."""
        if self.error is None:
            try:
                await self.prepare()
            except QmpError as error:
                self.error = error
            self._update_result()
        return self.error is None

    async def end(self) -> None:
        """Commit or abort, emit the final event, and conclude (job_finalize_single)."""
        self._update_result()
        if self.error is None:
            await self.commit()
        else:
            await self.abort()
        await self.clean()
        if self.started:
            self.emit_ended()
        self.txn.jobs.remove(self)
        self.move(JobStatus.CONCLUDED)
        if self.auto_dismiss or not self.started:
            await self._forget()

    async def fail_creation(self) -> None:
        """Forget a job whose creation failed after it was listed (job_early_fail)."""
        self.txn.jobs.remove(self)
        await self._forget()

    async def _forget(self) -> None:
        self.move(JobStatus.NULL)
        self.table.jobs.remove(self)
        if not self._keepers:
            await self.free()

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Within, it may be forgotten, but is not freed before the end (``job_ref``)."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1
            if not self._keepers and self.status is JobStatus.NULL:
                await self.free()
