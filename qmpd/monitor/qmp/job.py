"""Commands of schema module job, and the block-job-* commands of block-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.jobs.core.job import Job
from qmpd.jobs.image.amend import AmendJob
from qmpd.jobs.image.create import CreateJob
from qmpd.monitor.qmp.handlers import Context, Handler, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.block_core import (
        BlockdevCreateArguments,
        BlockJobCancelArguments,
        BlockJobChangeOptions,
        BlockJobSetSpeedArguments,
        XBlockdevAmendArguments,
    )


def _job_verb(verb: Callable[[Job], Any]) -> Handler:
    def handler(context: Context, arguments: Any) -> Any:
        return verb(context.machine.jobs.find(arguments.id))

    return handler


def _block_job_verb(verb: Callable[[Job], Any], member: str) -> Handler:
    def handler(context: Context, arguments: Any) -> Any:
        return verb(context.machine.jobs.find_block_job(getattr(arguments, member)))

    return handler


async def block_job_cancel(context: Context, arguments: BlockJobCancelArguments) -> None:
    """Cancel a block job; without force not one that its user has paused."""
    await context.machine.jobs.block_job_cancel(arguments.device, force=bool(arguments.force))


async def block_job_set_speed(context: Context, arguments: BlockJobSetSpeedArguments) -> None:
    """Limit a block job (bytes per second)."""
    await context.machine.jobs.block_job_set_speed(arguments.device, arguments.speed)


async def block_job_change(context: Context, arguments: BlockJobChangeOptions) -> None:
    """Change the options of a job that runs."""
    await context.machine.jobs.find_block_job(arguments.id).change(arguments)


def query_jobs(context: Context, _: None) -> list[dict[str, Any]]:
    """All jobs, the newest first."""
    return context.machine.jobs.query_jobs()


def query_block_jobs(context: Context, _: None) -> list[dict[str, Any]]:
    """All block jobs, the newest first."""
    return context.machine.jobs.query_block_jobs()


async def blockdev_create(context: Context, arguments: BlockdevCreateArguments) -> None:
    """Start a job that makes an image."""
    machine = context.machine
    job = CreateJob(machine.jobs, arguments.job_id, machine.graph, context.raw["options"])
    job.start()


async def x_blockdev_amend(context: Context, arguments: XBlockdevAmendArguments) -> None:
    """Start a job that changes the options of an image."""
    machine = context.machine
    node = machine.graph.lookup_device_or_node(None, arguments.node_name)
    job = AmendJob(machine.jobs, arguments.job_id, node, context.raw["options"])
    job.start()


HANDLERS: Final[Handlers] = {
    "job-pause": _job_verb(Job.user_pause),
    "job-resume": _job_verb(Job.user_resume),
    "job-cancel": _job_verb(Job.user_cancel),
    "job-complete": _job_verb(Job.user_complete),
    "job-finalize": _job_verb(Job.user_finalize),
    "job-dismiss": _job_verb(Job.user_dismiss),
    "block-job-pause": _block_job_verb(Job.user_pause, "device"),
    "block-job-resume": _block_job_verb(Job.user_resume, "device"),
    "block-job-complete": _block_job_verb(Job.user_complete, "device"),
    "block-job-finalize": _block_job_verb(Job.user_finalize, "id"),
    "block-job-dismiss": _block_job_verb(Job.user_dismiss, "id"),
    "block-job-cancel": block_job_cancel,
    "block-job-set-speed": block_job_set_speed,
    "block-job-change": block_job_change,
    "query-jobs": query_jobs,
    "query-block-jobs": query_block_jobs,
    "blockdev-create": blockdev_create,
    "x-blockdev-amend": x_blockdev_amend,
}
