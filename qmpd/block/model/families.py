"""What only some drivers do: families of methods that a driver has as a whole, or has not.

Such a driver derives from the family besides `qmpd.block.model.driver.BlockDriver`; whether it does
is asked with `isinstance`, as QEMU asks whether a BlockDriver has the callbacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph


class Snapshots:
    """Keeps internal snapshots in the image (``bdrv_snapshot_create`` and its like)."""

    @property
    def lists_snapshots(self) -> bool:
        """Whether this image can have any."""
        return True

    def snapshot_list(self) -> list[dict[str, Any]]:
        """The SnapshotInfo of every internal snapshot."""
        raise NotImplementedError

    def is_disk_only(self, name: str) -> bool:
        """Whether a snapshot, the first of its name, is known to lack the state of the guest."""
        raise NotImplementedError

    async def snapshot_create(
        self, name: str, date: int, vm_clock: int, *, disk_only: bool = True, vm_state: bytes = b""
    ) -> str:
        """Keep the disk as an internal snapshot; returns its id.

        :param date: nanoseconds since 1970
        :param vm_clock: nanoseconds the guest has run
        :param disk_only: the state of the guest is not kept with it
        :param vm_state: the state of the guest
        :raises BlockIOError: it failed
        """
        raise NotImplementedError

    async def snapshot_delete(self, ident: str | None, name: str | None) -> dict[str, Any]:
        """Delete an internal snapshot; returns its SnapshotInfo.

        :raises BlockIOError: it failed
        """
        raise NotImplementedError

    async def snapshot_goto(self, ident: str) -> None:
        """Let the disk be what it was at a snapshot, found by its id, else by its name.

        :raises BlockIOError: it failed
        """
        raise NotImplementedError


class ImageCreator:
    """Makes images from BlockdevCreateOptions (``bdrv_co_create``).

    `has_cluster_size`: their size is limited by that of their clusters, which may be chosen.
    """

    has_cluster_size: ClassVar[bool] = False

    @classmethod
    async def create(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        """Make an image.

        :param options: as of BlockdevCreateOptions, plain JSON values
        :raises QmpError: with QEMU's text
        """
        raise NotImplementedError

    @classmethod
    def delete_file(cls, graph: Graph, options: Mapping[str, Any]) -> None:
        """Delete a file in which no image could be made (``bdrv_co_delete_file_noerr``).

        Most drivers cannot; where one cannot now it is told, not raised.

        :param options: those that the file was made with
        """


class Connected:
    """Has a connection to a server."""

    def yank(self) -> None:
        """Break it off, for good: requests fail, now and later."""
        raise NotImplementedError


class Amendable:
    """Changes options of an image that exists (``bdrv_co_amend``)."""

    async def amend(self, options: Mapping[str, Any]) -> None:
        """Change options of the image.

        :param options: as of BlockdevAmendOptions, plain JSON values
        :raises QmpError: it cannot be done
        """
        raise NotImplementedError
