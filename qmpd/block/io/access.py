"""What a block backend may do with its node, and what it lets others do."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from qmpd.base.override import override
from qmpd.block.change.permissions import refresh_permissions
from qmpd.block.io.device_side import DeviceSide
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, Perm
from qmpd.errors import BlockIOError, QmpError

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Edge, Node


class Access(DeviceSide):
    """Permissions, which are given up while the node is inactive.

    :param name: the backend's name, "" for a nameless one
    :param perm: permissions it uses, see `qmpd.block.permission_bits`
    :param shared: permissions it lets others use
    :param force_allow_inactivate: see `BlockBackend`
    """

    def __init__(
        self, graph: Graph, name: str, *, perm: Perm, shared: Perm, force_allow_inactivate: bool
    ) -> None:
        super().__init__()
        self.graph = graph
        self.name = name
        self.root: Edge | None = None
        self.perm = perm
        self.shared = shared
        self._force_allow_inactivate = force_allow_inactivate
        self._inactive = False

    def permissions_on(self, node: Node) -> tuple[Perm, Perm]:
        """What is asked for, and shared, when `node` becomes the root."""
        if not node.active and self._can_inactivate:
            self._inactive = True
        return (NOTHING, ALL) if self._inactive else (self.perm, self.shared)

    def force_allow_inactivate(self) -> None:
        """Let the node, which is active now, be inactive although it is written."""
        self._force_allow_inactivate = True

    def set_permissions(self, perm: Perm, shared: Perm) -> None:
        """Use other permissions (``blk_set_perm``).

        :raises QmpError: the node, or one of its other parents, refuses what is asked in addition
        """
        if self.root is not None and not self._inactive:
            self._apply(self.root, perm, shared)
        self.perm, self.shared = perm, shared

    def _apply(self, root: Edge, perm: Perm, shared: Perm) -> None:
        before = root.perm, root.shared
        if before == (perm, shared):
            return
        root.perm, root.shared = perm, shared
        try:
            refresh_permissions(root.node, asking=root)
        except BaseException as error:
            root.perm, root.shared = before
            tightened = perm & ~before[0] or before[1] & ~shared
            if tightened or not isinstance(error, QmpError):
                raise

    def require(self, perm: Perm) -> None:
        """Use `perm` too, from now on.

        :raises GenericError: the node is read-only, or its other parents object
        """
        if perm & ~self.perm:
            self.set_permissions(self.perm | perm, self.shared)

    @override
    def attach_device(self, device_id: str) -> None:
        """Put the backend to use by a device (``blk_attach_dev``).

        While the guest is still to come, jobs and exports may write the image: the device's
        permissions are asked for when it is here.

        :param device_id: the device's id or path
        """
        super().attach_device(device_id)
        if self.graph.incoming:
            self._inactive = True

    @property
    def _can_inactivate(self) -> bool:
        """Whether its node may be inactive (``blk_can_inactivate``)."""
        if self.device_id is not None or self.name or not self.perm & ~CONSISTENT_READ:
            return True
        return self._force_allow_inactivate

    def node_activated(self) -> None:
        """Take the permissions again that were given up (``blk_root_activate``).

        :raises QmpError: somebody objects
        """
        if not self._inactive:
            return
        self._inactive = False
        if self.root is None:
            return
        later = self.graph.incoming
        try:
            self._apply(self.root, self.perm, ALL)
            if not later:
                self._apply(self.root, self.perm, self.shared)
        except QmpError:
            self._inactive = True
            raise
        if later and self._guest_started not in self.graph.on_start:
            self.graph.on_start.append(self._guest_started)

    def _guest_started(self) -> None:
        """The guest is here: nobody else is to write the image (``blk_vm_state_changed``)."""
        try:
            self.set_permissions(self.perm, self.shared)
        except QmpError as error:
            self.graph.services.say.report(error.desc)

    def node_inactivated(self) -> None:
        """Give up all permissions (``blk_root_inactivate``).

        :raises BlockIOError: it needs them (EPERM)
        """
        if self._inactive:
            return
        if not self._can_inactivate:
            raise BlockIOError(errno.EPERM)
        self._inactive = True
        if self.root is not None:
            self._apply(self.root, NOTHING, ALL)
