"""The nodes and backends of one machine, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from qmpd.base.identifiers import NameGenerator, check_node_name
from qmpd.block.throttle.group import ThrottleGroups
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.block.model.pace import Paces
    from qmpd.block.model.parent import Reader
    from qmpd.block.model.services import Services


class Named(Protocol):
    """A node, as far as the table needs to know it."""

    node_name: str


NodeT = TypeVar("NodeT", bound=Named)
NodeT_co = TypeVar("NodeT_co", bound=Named, covariant=True)


class Backend(Protocol[NodeT_co]):
    """A block backend, as far as the table needs to know it; see `qmpd.block.io.backend`."""

    name: str

    @property
    def node(self) -> NodeT_co | None:
        """Its root."""

    async def close(self) -> None:
        """Let the root go, and be forgotten."""


class NodeTable(Generic[NodeT]):
    """All nodes and backends of a machine.  What changes them is in `qmpd.block.change`.

    :param services: the surroundings
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.throttle_groups = ThrottleGroups(services.clocks.accounting)
        self.backends: dict[str, Backend[NodeT]] = {}
        """The named backends, the oldest first."""
        self.all_backends: list[Backend[NodeT]] = []
        """All backends, nameless ones too, the oldest first."""
        self.paces: Paces | None = None
        """How fast nodes are, where somebody has said so."""
        self.readers: dict[Reader, None] = {}
        """Who stops when the graph is to be changed, the oldest first."""
        self.drains = 0
        """How many drained sections of all nodes there are; new nodes belong to them."""
        self.on_opened: Callable[[NodeT], None] | None = None
        """Called with each node as soon as it has its driver, where somebody wants to know."""
        self.refuses_aes = True
        """Whether images that AES encrypts are refused by name, as system emulators do."""
        self.incoming = False
        """Whether the machine waits for its guest: images still belong to another process."""
        self.on_start: list[Callable[[], None]] = []
        """Called, and forgotten, when the guest starts to run (``vm_change_state_handler``)."""
        self._by_name: dict[str, NodeT] = {}
        self._names = NameGenerator(services.random)

    # Looking up

    def nodes(self) -> list[NodeT]:
        """All nodes, the oldest first (``graph_bdrv_states``)."""
        return list(self._by_name.values())

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self._by_name)

    def find_node(self, name: str) -> NodeT | None:
        """The node of this name."""
        return self._by_name.get(name)

    def lookup_device_or_node(self, device: str | None, node_name: str | None) -> NodeT:
        """The root of backend `device`, or node `node_name`: QEMU's bdrv_lookup_bs.

        :raises GenericError: there is neither, or the backend is empty
        """
        if device is not None:
            backend = self.backends.get(device)
            if backend is not None:
                if backend.node is None:
                    raise GenericError(f"Device '{device}' has no medium")
                return backend.node
        if node_name is not None:
            node = self._by_name.get(node_name)
            if node is not None:
                return node
        raise GenericError(f"Cannot find device='{device or ''}' nor node-name='{node_name or ''}'")

    def lookup(self, name: str) -> NodeT:
        """The root of the backend called `name`, or the node called so."""
        node = self._by_name.get(name)
        if node is not None and name not in self.backends:
            return node
        return self.lookup_device_or_node(name, name)

    # Coming and going

    def register(self, node: NodeT, name: str | None) -> None:
        """Give `node` its name, an automatic one for None.

        :raises GenericError: the name is malformed or taken
        """
        if name is None:
            name = self._names.next()
        else:
            check_node_name(name)
            if name in self.backends:
                raise GenericError(f"node-name={name} is conflicting with a device id")
            if name in self._by_name:
                raise GenericError(f"Duplicate nodes with node-name='{name}'")
        node.node_name = name
        self._by_name[name] = node

    def name_backend(self, backend: Backend[NodeT], name: str) -> None:
        """Make a nameless backend known as `name` (``monitor_add_blk``).

        :raises GenericError: the name is taken by a backend or a node
        """
        if name in self.backends:
            raise GenericError(f"Device with id '{name}' already exists")
        if name in self._by_name:
            raise GenericError(f"Device name '{name}' conflicts with an existing node name")
        backend.name = name
        self.backends[name] = backend

    def add_backend(self, backend: Backend[NodeT]) -> None:
        """Take `backend` in; a name makes it known by it."""
        if backend.name:
            self.backends[backend.name] = backend
        self.all_backends.append(backend)

    def forget_backend(self, backend: Backend[NodeT]) -> None:
        """Undo `add_backend`."""
        if self.backends.get(backend.name) is backend:
            del self.backends[backend.name]
        if backend in self.all_backends:
            self.all_backends.remove(backend)

    def make_anonymous(self, backend: Backend[NodeT]) -> None:
        """Let a backend have a name no longer; its device still has it."""
        del self.backends[backend.name]
        backend.name = ""

    def holds(self, node: NodeT) -> bool:
        """Whether `node` is known by its name."""
        return self._by_name.get(node.node_name) is node

    def forget(self, node: NodeT) -> None:
        """Undo `register`; does nothing to a node that has no name yet."""
        if self.holds(node):
            del self._by_name[node.node_name]
