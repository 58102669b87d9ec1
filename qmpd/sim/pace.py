"""How fast the nodes of a machine are for its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from qmpd.block.model.pace import Pace, Paces
from qmpd.loop.clock import NANOSECONDS
from qmpd.sim.names import backend_called

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


class PaceTable:
    """The paces that somebody has set; a machine in the place of another one keeps them.

    :param machine: tells the machine that there is now
    """

    def __init__(self, machine: Callable[[], Machine]) -> None:
        self._machine = machine
        self._paces: dict[str, tuple[int | None, float]] = {}

    def __iter__(self) -> Iterator[tuple[str, int | None, float]]:
        """The name of each node, its bytes per second, and the seconds that a request takes."""
        return ((name, *pace) for name, pace in self._paces.items())

    def set(self, name: str, bytes_per_second: int | None, seconds: float) -> None:
        """Say how fast a node is; without a limit and without a time it is as it was.

        :param name: of the node, or of the backend or device on it
        :raises LookupError: there is none of that name
        :raises ValueError: a number that is not positive
        """
        if bytes_per_second is not None and bytes_per_second <= 0:
            raise ValueError(f"bytes_per_second is to be positive, not {bytes_per_second}")
        if seconds < 0:
            raise ValueError(f"seconds are not to be negative, as {seconds} is")
        node_name = self._node_name(name)
        self._paces.pop(node_name, None)
        if bytes_per_second is not None or seconds:
            self._paces[node_name] = (bytes_per_second, seconds)
        self.follow()

    def _node_name(self, name: str) -> str:
        graph = self._machine().graph
        backend = backend_called(self._machine(), name)
        node = graph.find_node(name) if backend is None else backend.node
        if node is None:
            known = ", ".join(sorted(node.node_name for node in graph.nodes())) or "none"
            raise LookupError(f"there is no node '{name}' (nodes: {known})")
        return node.node_name

    def follow(self) -> None:
        """Let the machine that there is now go by the paces."""
        paces = Paces()
        for name, (bytes_per_second, seconds) in self._paces.items():
            paces.by_name[name] = Pace(bytes_per_second, round(seconds * NANOSECONDS))
        self._machine().graph.paces = paces if self._paces else None
