"""Which node follows which: ``bs->inherits_from`` of QEMU.

A node that was defined inside the options of another one takes from it what it was not given
itself, and follows it when that is reopened.  This holds as long as it is below that node; when
what was between them goes, it follows its new parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.model.node import Edge, Node


def inherits(node: Node | None, above: Node) -> bool:
    """Whether `node` is `above`, or follows it by way of others."""
    while node is not None and node is not above:
        node = node.inherits_from
    return node is not None


def orphans(parent: Node, edge: Edge) -> list[Node]:
    """The nodes that follow `parent` no longer once its child `edge` has gone.

    A node that is twice its child goes on following it (``bdrv_unset_inherits_from``).  Nothing
    is looked for any further once all that follow the parent have been seen: mostly they are its
    children.
    """
    found: dict[Node, None] = {}
    kept: set[Node] = set()
    stack = [edge]
    while stack and len(found) + len(kept) < parent.followers:
        current = stack.pop()
        node = current.node
        if node.inherits_from is parent and node not in found:
            others = parent.children.values()
            if any(other is not current and other.node is node for other in others):
                kept.add(node)
            else:
                found[node] = None
        stack.extend(node.children.values())
    return list(found)


def disinherit(parent: Node, edge: Edge) -> None:
    """Have what is below a child that goes follow `parent` no longer."""
    for node in orphans(parent, edge):
        node.follow(None)
