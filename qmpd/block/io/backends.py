"""The block backends of a graph, found by name or by device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qmpd.block.io.backend import BlockBackend

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph


def backends(graph: Graph) -> Iterator[BlockBackend]:
    """All backends, nameless ones too, the oldest first (``blk_all_next``)."""
    return (backend for backend in graph.all_backends if isinstance(backend, BlockBackend))


def named_backends(graph: Graph) -> list[BlockBackend]:
    """The backends that have a name, the oldest first (``blk_next``)."""
    return [b for b in graph.backends.values() if isinstance(b, BlockBackend)]


def shown_backends(graph: Graph) -> Iterator[BlockBackend]:
    """The backends that queries show, the oldest first: those with a name or a device."""
    return (b for b in backends(graph) if b.name or b.device_id is not None)


def find_backend(graph: Graph, name: str) -> BlockBackend | None:
    """The backend called `name` (``blk_by_name``)."""
    backend = graph.backends.get(name)
    return backend if isinstance(backend, BlockBackend) else None


def backend_of_device(graph: Graph, device_id: str) -> BlockBackend | None:
    """The backend that device `device_id` uses (``blk_by_qdev_id``)."""
    return next((b for b in backends(graph) if b.device_id == device_id), None)
