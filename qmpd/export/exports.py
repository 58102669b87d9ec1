"""All exports of one machine: adding, deleting and listing them (QEMU's block/export)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from qmpd.base.identifiers import id_wellformed
from qmpd.base.newest_first import NewestFirst
from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, WRITE
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.loop.events import Emit
    from qmpd.loop.task import Task


class BlockExport(ABC):
    """A node made available to others.

    :param export_id: its id, unique among exports
    :param backend: the backend that it reads and writes
    """

    export_type: ClassVar[str]

    def __init__(self, export_id: str, backend: BlockBackend) -> None:
        self.id = export_id
        self.backend = backend
        self.shutting_down = False
        self.detach: Callable[[], None] | None = None
        """Called when it has been deleted: it need not go with its drive any more."""

    def info(self) -> dict[str, Any]:
        """BlockExportInfo, members in schema order."""
        node = self.backend.node
        return {
            "id": self.id,
            "type": self.export_type,
            "node-name": "" if node is None else node.node_name,
            "shutting-down": self.shutting_down,
        }

    @property
    @abstractmethod
    def in_use(self) -> bool:
        """Whether a client uses it, so that block-export-del needs mode=hard."""

    @abstractmethod
    async def close_clients(self) -> None:
        """Disconnect its clients, and wait for their requests to end."""

    @abstractmethod
    def deleted(self) -> None:
        """Called when it has been deleted: release everything but the backend."""


class BlockExports:
    """The exports of a machine.

    :param emit: takes events
    """

    def __init__(self, graph: Graph, *, emit: Emit) -> None:
        self.graph = graph
        self._emit = emit
        self.exports: NewestFirst[BlockExport] = NewestFirst()

    async def open_backend(
        self, node: Node, *, writable: bool, writethrough: bool, allow_inactive: bool
    ) -> BlockBackend:
        """The backend of a new export of `node`.

        :param allow_inactive: whether the node may be inactive, now or later
        :raises GenericError: the permissions conflict with other users of the node
        """
        perm = CONSISTENT_READ | (WRITE if writable else NOTHING)
        backend = await BlockBackend.on(
            node,
            perm=perm,
            shared=ALL,
            force_allow_inactivate=allow_inactive,
        )
        backend.enable_write_cache = not writethrough
        return backend

    def check_id(self, export_id: str) -> None:
        """Check the id of a new export.

        :raises GenericError: it is malformed or taken
        """
        if not id_wellformed(export_id):
            raise GenericError("Invalid block export id")
        if self.get(export_id) is not None:
            raise GenericError(f"Block export id '{export_id}' is already in use")

    def add(self, export: BlockExport) -> None:
        """Add an export to the list."""
        self.exports.add(export)

    def get(self, export_id: str) -> BlockExport | None:
        """The export of this id, if there is one (``blk_exp_find``)."""
        return next((export for export in self.exports if export.id == export_id), None)

    def find(self, export_id: str) -> BlockExport:
        """The export of this id.

        :raises GenericError: there is none, or it is being closed
        """
        export = self.get(export_id)
        if export is None or export.shutting_down:
            raise GenericError(f"Export '{export_id}' is not found")
        return export

    def close_with(self, export: BlockExport, drive: BlockBackend) -> None:
        """Have `export` go when the medium of `drive` does (``nbd_export_set_on_eject_blk``)."""

        async def close() -> None:
            if not export.shutting_down:
                await self.close(export)

        drive.on_remove.append(close)
        export.detach = partial(drive.on_remove.remove, close)

    async def delete(self, export_id: str, *, hard: bool) -> None:
        """Command block-export-del.

        :param hard: disconnect clients, instead of failing if there are any
        :raises GenericError: there is no such export, or it is in use
        """
        export = self.find(export_id)
        if export.in_use and not hard:
            raise GenericError(
                f"export '{export_id}' still in use", "Use mode='hard' to force client disconnect"
            )
        await self.close(export)

    async def close(self, export: BlockExport) -> None:
        """Close and delete an export."""
        await self._shut_down(export)
        if self.graph.services.manners.exports_go_later:
            loop = self.graph.services.loop
            # the answer is a round of the loop away, and comes before this bottom half
            loop.call_soon(partial(loop.schedule_bh, partial(self._begin_delete, export)))
        else:
            await self._delete(export)

    async def _shut_down(self, export: BlockExport) -> None:
        export.shutting_down = True
        await export.close_clients()

    async def _delete(self, export: BlockExport) -> None:
        await export.backend.close()
        export.deleted()
        if export.detach is not None:
            export.detach()
        self.exports.remove(export)
        self._emit("BLOCK_EXPORT_DELETED", {"id": export.id})

    async def close_all(self, export_type: str | None = None) -> None:
        """Close all exports, or those of one type (``blk_exp_close_all_type``)."""
        closing = [e for e in self.exports if export_type in (None, e.export_type)]
        for export in closing:
            await self._shut_down(export)
        # Each is deleted by a bottom half, and runs those of the others when it has changed the
        # graph: the newest export is the first to be gone.
        loop = self.graph.services.loop
        for export in closing:
            loop.schedule_bh(partial(self._begin_delete, export))
        with loop.nested_loop():
            await loop.poll_bottom_halves()

    def _begin_delete(self, export: BlockExport) -> Task:
        return self.graph.services.loop.enter(self._delete(export), "block export")

    def query(self) -> list[dict[str, Any]]:
        """Command query-block-exports."""
        return [export.info() for export in self.exports]
