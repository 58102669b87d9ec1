"""Conflicts of permissions, as they were found before changes of the graph were checked as a whole.

Each hold on a node that was new, or asked for something else, was checked against all others, and
the one that it met is told; itself it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.permission_bits import permission_names
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmpd.block.model.node import Edge, Node


def check_one_by_one(node: Node, asking: Sequence[Edge]) -> None:
    """Whether the parents of `node` agree (``bdrv_check_update_perm``).

    :param asking: those that ask for something else, who are checked first
    :raises GenericError: two do not
    """
    parents = [*node.parents]
    for edge in [edge for edge in asking if edge in parents] + parents:
        for other in parents:
            if other is not edge:
                _check(edge, other)


def _check(edge: Edge, other: Edge) -> None:
    if refused := edge.perm & ~other.shared:
        what = f"does not allow '{permission_names(refused)}'"
    elif used := other.perm & ~edge.shared:
        what = f"uses '{permission_names(used)}'"
    else:
        return
    raise GenericError(
        f"Conflicts with use by {_who(other)} as '{other.name}', which {what}"
        f" on {other.node.node_name}"
    )


def _who(edge: Edge) -> str:
    if edge.parent_node is not None:
        return edge.parent_node.device_or_node_name
    assert edge.user is not None
    return edge.user.brief_description
