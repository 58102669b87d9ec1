"""x-blockdev-amend: changing the options of an image, as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qmpd.base.override import override
from qmpd.block.change.closing import release
from qmpd.block.model.driver_table import find_image_driver
from qmpd.block.model.families import Amendable
from qmpd.errors import GenericError
from qmpd.jobs.core.job import Job

if TYPE_CHECKING:
    from qmpd.block.model.node import Node
    from qmpd.jobs.core.protocols import Listing


class AmendJob(Job):
    """Has a node's driver change options of the image; must be dismissed.

    :param node: held until the job is dismissed
    :param options: as of BlockdevAmendOptions, plain JSON values
    :raises GenericError: the driver differs or cannot amend, or the id is malformed or in use
    """

    job_type = "amend"

    def __init__(self, table: Listing, job_id: str, node: Node, options: Mapping[str, Any]) -> None:
        driver = find_image_driver(options["driver"])
        if node.driver.gone or driver.format_name != node.driver.format_name:
            raise GenericError("x-blockdev-amend doesn't support changing the block driver")
        if not isinstance(node.driver, Amendable):
            raise GenericError("Driver does not support x-blockdev-amend")
        super().__init__(table, job_id, auto_dismiss=False)
        self._node = node
        self._driver: Amendable = node.driver
        self._options = options
        node.hold()

    @override
    async def run(self) -> None:
        """Do the work; progress has one step, even if it fails."""
        self.progress.total = 1
        try:
            await self._driver.amend(self._options)
        finally:
            self.progress.current = 1

    @override
    async def free(self) -> None:
        await release(self._node)
