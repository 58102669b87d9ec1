"""Conflicts of permissions, as they were found before changes of the graph were checked as a whole.

Each hold on a node that was new, or asked for something else, was checked against all others, and
the one that it met is told; itself it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.block.permission_bits import permission_names
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qmpd.block.model.node import Edge, Node


def check_all(node: Node, asking: Edge | None) -> None:
    """Whether the parents of `node` agree.

    :param asking: who asks for something else, if that is known: it is checked first
    :raises GenericError: two do not
    """
    if asking is not None:
        check_one(asking)
    if agree(node.parents):
        return
    for edge in [*node.parents]:
        check_one(edge)


def agree(parents: Iterable[Edge]) -> bool:
    """Whether none of them uses what another does not share."""
    used = used_twice = 0
    for edge in parents:
        used_twice |= used & edge.perm
        used |= edge.perm
    return not any((used & ~edge.perm | used_twice) & ~edge.shared for edge in parents)


def check_one(edge: Edge) -> None:
    """Whether a hold agrees with all others on its node (``bdrv_check_update_perm``).

    :raises GenericError: it does not
    """
    for other in edge.node.parents:
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
