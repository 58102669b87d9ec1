"""What handles tell, worked out from answers, events and the machine itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qmpd.block.bits.rules import find
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.api.core import Core
    from qmpd.api.jobs import JobRecords

Jobs = list[dict[str, Any]]
"""The answer of query-jobs."""


def _find(jobs: Jobs, job_id: str) -> dict[str, Any] | None:
    return next((job for job in jobs if job["id"] == job_id), None)


def job_status(jobs: Jobs, records: JobRecords, job_id: str) -> str:
    """A job's status; see `Job.status`."""
    job = _find(jobs, job_id)
    return records.find(job_id).status if job is None else str(job["status"])


def job_progress(jobs: Jobs, records: JobRecords, job_id: str) -> tuple[int, int]:
    """A job's progress; see `Job.progress`."""
    job = _find(jobs, job_id)
    if job is None:
        return records.find(job_id).progress
    return job["current-progress"], job["total-progress"]


def job_error(jobs: Jobs, records: JobRecords, job_id: str) -> str | None:
    """A job's error; see `Job.error`."""
    job = _find(jobs, job_id)
    return records.find(job_id).error if job is None else job.get("error")


@dataclass(frozen=True, slots=True)
class BitmapView:
    """A dirty bitmap at one moment; see `Bitmap`."""

    extents: list[tuple[int, int]]
    count: int
    granularity: int
    recording: bool
    busy: bool
    persistent: bool
    inconsistent: bool
    info: dict[str, Any]


def bitmap(core: Core, node_name: str, name: str) -> BitmapView:
    """A bitmap as it is now.

    :raises LookupError: there is none
    """
    core.require_open()
    try:
        node = core.machine.graph.lookup(node_name)
    except GenericError as error:
        raise LookupError(error.desc) from None
    found = find(node, name)
    if found is None:
        known = ", ".join(repr(other.name) for other in node.bitmaps if other.name) or "none"
        raise LookupError(f"there is no bitmap '{name}' at '{node_name}' (there: {known})")
    return BitmapView(
        list(found.extents()),
        found.count,
        found.granularity,
        found.recording,
        found.busy,
        found.persistent,
        found.inconsistent,
        dict(found.info()),
    )
