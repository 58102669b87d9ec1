"""The jobs of a machine: finding and listing them, and the commands block-job-*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.base.newest_first import NewestFirst
from qmpd.block.manners import USUAL
from qmpd.errors import DeviceNotActive, GenericError
from qmpd.jobs.core.block_job import BlockJob

if TYPE_CHECKING:
    from qmpd.block.manners import Manners
    from qmpd.jobs.core.job import Job
    from qmpd.loop.clock import Clock
    from qmpd.loop.events import Emit


class JobTable:
    """The list of jobs.

    :param emit: takes events
    :param clock: runs the work of the jobs
    :param manners: the ways of the version
    """

    def __init__(self, *, emit: Emit, clock: Clock, manners: Manners = USUAL) -> None:
        self.emit = emit
        self.manners = manners
        self.clock = clock
        self.jobs: NewestFirst[Job] = NewestFirst()

    def get(self, job_id: str) -> Job | None:
        """The job of this id, if there is one (``job_get``)."""
        return next((job for job in self.jobs if job.id == job_id), None)

    def find(self, job_id: str) -> Job:
        """The job with this id, for the job-* commands.

        :raises GenericError: there is no such job
        """
        job = self.get(job_id)
        if job is None:
            raise GenericError("Job not found")
        return job

    def find_block_job(self, job_id: str) -> BlockJob:
        """The block job with this id, for the block-job-* commands.

        :raises DeviceNotActive: there is no such job, or it is not a block job
        """
        job = self.get(job_id)
        if not isinstance(job, BlockJob):
            raise DeviceNotActive(f"Block job '{job_id}' not found")
        return job

    def query_jobs(self) -> list[dict[str, Any]]:
        """Command query-jobs."""
        return [job.info() for job in self.jobs]

    def query_block_jobs(self) -> list[dict[str, Any]]:
        """Command query-block-jobs."""
        return [job.block_info() for job in self.jobs if isinstance(job, BlockJob)]

    # The block-job-* commands, for QMP and HMP

    async def block_job_pause(self, job_id: str) -> None:
        """Command block-job-pause."""
        await self.find_block_job(job_id).user_pause()

    async def block_job_resume(self, job_id: str) -> None:
        """Command block-job-resume."""
        await self.find_block_job(job_id).user_resume()

    async def block_job_complete(self, job_id: str) -> None:
        """Command block-job-complete."""
        await self.find_block_job(job_id).user_complete()

    async def block_job_set_speed(self, job_id: str, speed: int) -> None:
        """Command block-job-set-speed; bytes per second, 0 for no limit."""
        self.find_block_job(job_id).set_speed(speed)

    async def block_job_cancel(self, job_id: str, *, force: bool = False) -> None:
        """Command block-job-cancel; a job paused by its user is refused without `force`.

        :raises QmpError: there is no such job, or it refuses
        """
        job = self.find_block_job(job_id)
        if job.user_paused and not force:
            raise GenericError(f"The block job for device '{job_id}' is currently paused")
        await job.user_cancel(force=force)

    async def cancel_all(self) -> None:
        """Cancel all jobs, the newest first, waiting for the end of each (job_cancel_sync_all)."""
        while self.jobs:
            await self.jobs[0].cancel_and_wait()
