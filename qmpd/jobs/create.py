"""blockdev-create: making an image, as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.block.drivers import find_driver
from qmpd.jobs.job import Job, JobTable

if TYPE_CHECKING:
    from qmpd.block.graph import Graph


class CreateJob(Job):
    """Has a driver make an image; stays concluded until it is dismissed."""

    job_type = "create"

    def __init__(
        self, table: JobTable, job_id: str, graph: Graph, options: Mapping[str, Any]
    ) -> None:
        self._driver = find_driver(options["driver"])
        self._driver.check_create(options)
        super().__init__(table, job_id, auto_dismiss=False)
        self._graph = graph
        self._options = options

    async def run(self) -> None:
        """See `Job.run`."""
        self.progress_total = 1
        try:
            await self._driver.create(self._graph, self._options)
        finally:
            self.progress_current = 1
