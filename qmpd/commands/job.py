"""Commands of schema module job, and the block-job-* commands of block-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qmpd.commands.registry import CommandTable, Context, Handler
from qmpd.errors import GenericError
from qmpd.jobs.create import CreateJob
from qmpd.jobs.job import Job

if TYPE_CHECKING:
    from qmpd.models.block_core import (
        BlockdevCreateArguments,
        BlockJobCancelArguments,
        BlockJobSetSpeedArguments,
    )

JOB = CommandTable()


def _job_verb(verb: Callable[[Job], None]) -> Handler:
    def handler(context: Context, arguments: Any) -> None:
        verb(context.machine.jobs.find(arguments.id))

    return handler


def _block_job_verb(verb: Callable[[Job], None], member: str) -> Handler:
    def handler(context: Context, arguments: Any) -> None:
        verb(context.machine.jobs.find_block_job(getattr(arguments, member)))

    return handler


JOB.command("job-pause")(_job_verb(Job.pause))
JOB.command("job-resume")(_job_verb(Job.resume))
JOB.command("job-cancel")(_job_verb(Job.cancel))
JOB.command("job-complete")(_job_verb(Job.complete))
JOB.command("job-finalize")(_job_verb(Job.finalize))
JOB.command("job-dismiss")(_job_verb(Job.dismiss))
JOB.command("block-job-pause")(_block_job_verb(Job.pause, "device"))
JOB.command("block-job-resume")(_block_job_verb(Job.resume, "device"))
JOB.command("block-job-complete")(_block_job_verb(Job.complete, "device"))
JOB.command("block-job-finalize")(_block_job_verb(Job.finalize, "id"))
JOB.command("block-job-dismiss")(_block_job_verb(Job.dismiss, "id"))
JOB.command("block-job-change")(_block_job_verb(Job.change, "id"))


@JOB.command("block-job-cancel")
def block_job_cancel(context: Context, arguments: BlockJobCancelArguments) -> None:
    """Cancel a block job; without force not one that its user has paused."""
    job = context.machine.jobs.find_block_job(arguments.device)
    if job.user_paused and not arguments.force:
        raise GenericError(f"The block job for device '{job.id}' is currently paused")
    job.cancel()


@JOB.command("block-job-set-speed")
def block_job_set_speed(context: Context, arguments: BlockJobSetSpeedArguments) -> None:
    """Limit a block job (bytes per second)."""
    context.machine.jobs.find_block_job(arguments.device)


@JOB.command("query-jobs")
def query_jobs(context: Context, _: None) -> list[dict[str, Any]]:
    """All jobs, the newest first."""
    return context.machine.jobs.query_jobs()


@JOB.command("query-block-jobs")
def query_block_jobs(context: Context, _: None) -> list[dict[str, Any]]:
    """All block jobs, the newest first."""
    return context.machine.jobs.query_block_jobs()


@JOB.command("blockdev-create")
def blockdev_create(context: Context, arguments: BlockdevCreateArguments) -> None:
    """Start a job that makes an image."""
    machine = context.machine
    options = context.raw["options"]
    CreateJob(machine.jobs, arguments.job_id, machine.graph, options).start()
