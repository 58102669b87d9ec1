"""What the events have told of jobs: it is still known when a job has gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ENDS = ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED")


@dataclass(slots=True)
class JobRecord:
    """A job, as far as events tell.

    :param status: QAPI's JobStatus; ``null`` when the job has gone
    :param error: why it failed, None if it has not
    :param progress: how far it had come at its end, and how far there was to go
    """

    status: str
    error: str | None = None
    progress: tuple[int, int] = (0, 0)


class JobRecords:
    """The jobs of a machine by their ids; an id stands for the newest job that had it."""

    def __init__(self) -> None:
        self._records: dict[str, JobRecord] = {}

    def see(self, event: dict[str, Any]) -> None:
        """Learn from an event."""
        name, data = event["event"], event.get("data", {})
        if name == "JOB_STATUS_CHANGE":
            job_id, status = data["id"], data["status"]
            if status == "created" or job_id not in self._records:
                self._records[job_id] = JobRecord(status)
            else:
                self._records[job_id].status = status
        elif name in _ENDS and data["device"] in self._records:
            record = self._records[data["device"]]
            record.error = data.get("error")
            record.progress = (data["offset"], data["len"])

    def clear(self) -> None:
        """Forget all jobs."""
        self._records.clear()

    def records(self) -> dict[str, JobRecord]:
        """All of them, by their ids."""
        return self._records

    def replace(self, records: dict[str, JobRecord]) -> None:
        """Know these jobs, and no others."""
        self._records = records

    def end_all(self) -> None:
        """The machine has ended, and all its jobs with it."""
        for record in self._records.values():
            record.status = "null"

    def find(self, job_id: str) -> JobRecord:
        """What is known of a job.

        :raises LookupError: there never was such a job
        """
        if job_id not in self._records:
            known = ", ".join(sorted(self._records)) or "none"
            raise LookupError(f"there is no job '{job_id}' (jobs so far: {known})")
        return self._records[job_id]
