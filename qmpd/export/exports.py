"""All exports of one machine: adding, deleting and listing them (QEMU's block/export)."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class BlockExport(ABC):
    """A node made available to others.

    :param export_id: its id, unique among exports
    :param backend: what it is read and written by
    """

    export_type: ClassVar[str]

    def __init__(self, export_id: str, backend: BlockBackend) -> None:
        self.id = export_id
        self.backend = backend
        self.shutting_down = False

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
        """Whether a client uses it."""

    @abstractmethod
    async def close_clients(self) -> None:
        """Cut its clients off, and wait until nothing of theirs is under way."""

    @abstractmethod
    def deleted(self) -> None:
        """It is gone: give back what it held beside the backend."""


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
        """What a new export of `node` works with.

        :param allow_inactive: the node may be inactive, now or later
        :raises GenericError: the node may not be used so
        """
        perm = CONSISTENT_READ | (WRITE if writable else NOTHING)
        backend = await BlockBackend.on(
            node,
            perm=perm if node.active else NOTHING,
            shared=ALL,
            stays_active=not allow_inactive,
        )
        if not node.active:
            backend.await_activation(perm)
        backend.enable_write_cache = not writethrough
        return backend

    def check_id(self, export_id: str) -> None:
        """Whether a new export may have this id.

        :raises GenericError: it is malformed or taken
        """
        if not id_wellformed(export_id):
            raise GenericError("Invalid block export id")
        if self.get(export_id) is not None:
            raise GenericError(f"Block export id '{export_id}' is already in use")

    def add(self, export: BlockExport) -> None:
        """List an export."""
        self.exports.add(export)

    def get(self, export_id: str) -> BlockExport | None:
        """The export of this id, if there is one (``blk_exp_find``)."""
        return next((export for export in self.exports if export.id == export_id), None)

    def find(self, export_id: str) -> BlockExport:
        """The export of this id.

        :raises GenericError: there is none, or it is on its way out
        """
        export = self.get(export_id)
        if export is None or export.shutting_down:
            raise GenericError(f"Export '{export_id}' is not found")
        return export

    async def delete(self, export_id: str, *, hard: bool) -> None:
        """Command block-export-del.

        :param hard: cut off clients, instead of refusing while there are any
        :raises GenericError: there is no such export, or it is in use
        """
        export = self.find(export_id)
        if export.in_use and not hard:
            raise GenericError(
                f"export '{export_id}' still in use", "Use mode='hard' to force client disconnect"
            )
        await self.close(export)

    async def close(self, export: BlockExport) -> None:
        """Take an export away."""
        export.shutting_down = True
        await export.close_clients()
        await export.backend.close()
        export.deleted()
        self.exports.remove(export)
        self._emit("BLOCK_EXPORT_DELETED", {"id": export.id})

    async def close_all(self, export_type: str | None = None) -> None:
        """Take all exports away, or those of one type (``blk_exp_close_all_type``)."""
        for export in list(self.exports):
            if export_type in (None, export.export_type):
                await self.close(export)

    def query(self) -> list[dict[str, Any]]:
        """Command query-block-exports."""
        return [export.info() for export in self.exports]
