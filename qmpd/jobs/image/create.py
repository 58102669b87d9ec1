"""blockdev-create: creating an image, as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.block.model.driver_table import find_creator
from qmpd.jobs.core.job import Job

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.jobs.core.protocols import Listing


class CreateJob(Job):
    """Has a driver create an image; must be dismissed.

    :param options: as of BlockdevCreateOptions, plain JSON values
    :raises GenericError: the driver cannot create images, or the id is malformed or in use
    """

    job_type = "create"

    def __init__(
        self, table: Listing, job_id: str, graph: Graph, options: Mapping[str, Any]
    ) -> None:
        self._driver = find_creator(options["driver"])
        super().__init__(table, job_id, auto_dismiss=False)
        self._graph = graph
        self._options = options

    @override
    async def run(self) -> None:
        """Do the work; progress has one step, even if it fails."""
        self.progress.total = 1
        try:
            creation = self._driver.create(self._graph, self._options)
            await self.table.clock.completions.patiently(creation)
        finally:
            self.progress.current = 1
