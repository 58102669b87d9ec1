"""A job, as an object that a program holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from qmpd.api import views
from qmpd.api.waits import WAIT

if TYPE_CHECKING:
    from qmpd.api.drivers import Driven
    from qmpd.api.jobs import JobRecords


class HasJobs(Protocol):
    """What has jobs: a machine here or elsewhere."""

    def cmd(self, cmd: str, /) -> Any:
        """Run a command without arguments."""

    @property
    def job_records(self) -> JobRecords:
        """What events have told of jobs."""

    def job_wait(self, job_id: str, statuses: Iterable[str], timeout: float | None) -> str:
        """Wait for a job: see `Job.wait`."""


class MachineJobs:
    """The jobs of a machine, for `Job`."""

    def __init__(self, machine: Driven) -> None:
        self._machine = machine

    def cmd(self, cmd: str) -> Any:
        """Run a command without arguments."""
        work = self._machine._core.cmd(cmd, None)
        return self._machine._driver.run(work, f"command {cmd}")

    @property
    def job_records(self) -> JobRecords:
        """What events have told of jobs."""
        return self._machine._core.jobs

    def job_wait(self, job_id: str, statuses: Iterable[str], timeout: float | None) -> str:
        """Wait for a job: see `Job.wait`."""
        work = self._machine._core.job_wait(job_id, statuses, timeout)
        return self._machine._driver.run(work, f"job '{job_id}'")


class Job:
    """A job, which may have gone already: the machine remembers how it ended.

    >>> import qmpd
    >>> with qmpd.Machine(disks={"disk0": "1M", "target": "1M"}) as vm:
    ...     _ = vm.cmd(
    ...         "blockdev-backup", job_id="j0", device="disk0", target="target", sync="full"
    ...     )
    ...     job = vm.job("j0")
    ...     print(job.wait(), job.progress, job.error)
    null (1048576, 1048576) None

    :raises LookupError: there never was a job of this id (raised by everything that is asked)
    """

    def __init__(self, machine: HasJobs, job_id: str) -> None:
        self._machine = machine
        self.id = job_id

    @property
    def status(self) -> str:
        """The job's status, as in query-jobs; ``null`` when it has gone."""
        return views.job_status(self._query(), self._machine.job_records, self.id)

    @property
    def progress(self) -> tuple[int, int]:
        """How far the job has come and how far there is to go, both in the job's units (bytes)."""
        return views.job_progress(self._query(), self._machine.job_records, self.id)

    @property
    def error(self) -> str | None:
        """Why the job failed; None if it has not."""
        return views.job_error(self._query(), self._machine.job_records, self.id)

    def wait(self, *statuses: str, timeout: float | None = WAIT) -> str:
        """Wait until the job has one of `statuses`, or has ended.

        A job has ended when it is ``concluded``, or ``null``: gone, because nobody asked for it
        to stay (``auto-dismiss``).

        :param statuses: for instance ``"ready"``, ``"pending"``; none to wait for the end
        :param timeout: seconds of the machine's clock, None for no limit (a day of a virtual
            clock)
        :returns: the status that it has then
        :raises TimeoutError: it takes longer
        :raises qmpd.errors.WaitsForever: it waits for a command, or the clock is held
        """
        return self._machine.job_wait(self.id, statuses, timeout)

    def _query(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self._machine.cmd("query-jobs")
        return jobs
