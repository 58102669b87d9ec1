"""What a parent does with a child node, and what the child holds for it, as sets of bits.

Every edge of the graph carries two sets of permissions (QEMU's ``BLK_PERM_*``): those its
parent uses, and those it lets the child's other parents use.  Its role (``BDRV_CHILD_*``) says
what the child holds for the parent; a driver's demands follow from it.
"""

from __future__ import annotations

from enum import Enum, IntFlag
from typing import Final

# Permissions and roles
#
# Whoever holds a node, be it another node, a backend or a job, says two things: which of the
# permissions below it uses, and which of them it does not mind others to use at the same time.
# Two holders are compatible if each shares all that the other uses.  If they are not, whoever
# came last is refused with "Permission conflict on node ...".
#
# * CONSISTENT_READ: what is read makes sense as a whole.  The intermediate images of a running
#   commit lack it: they have lost data to the base.
# * WRITE: change what readers see.
# * WRITE_UNCHANGED: write what is there already, as copy-on-read does.
# * RESIZE: change the length.
#
# What a node needs of its own children follows from what is asked of it and from what the child
# holds for it, its role:
#
# * FILTERED: the parent shows what the child holds.  All permissions pass through.
# * COW: a backing file.  Only reading is passed down, and a reader of the overlay does not
#   mind if others write what is the same (WRITE_UNCHANGED).
# * METADATA: the file of an image format.  The format writes to it, and may extend it, whenever
#   the node is writable, and nobody else may do so.
# * DATA: guest data.  A write may extend the file, so WRITE asks for RESIZE, too.
# * PRIMARY: the one child that stands for the parent, in file names for example; this has no
#   influence on permissions.


class Perm(IntFlag):
    """Permissions on a node, to be combined."""

    CONSISTENT_READ = 1
    WRITE = 2
    WRITE_UNCHANGED = 4
    RESIZE = 8


class Role(IntFlag):
    """What a child holds for its parent, to be combined."""

    DATA = 1
    METADATA = 2
    FILTERED = 4
    COW = 8
    PRIMARY = 16


# Combining sets is left to plain numbers: a change of the graph asks thousands of times for
# a bit, and the operators of IntFlag take fifty times as long.
for _kind in (Perm, Role):
    for _name in ("and", "or", "xor", "rand", "ror", "rxor", "invert", "bool"):
        setattr(_kind, f"__{_name}__", getattr(int, f"__{_name}__"))

CONSISTENT_READ: Final = Perm.CONSISTENT_READ
WRITE: Final = Perm.WRITE
WRITE_UNCHANGED: Final = Perm.WRITE_UNCHANGED
RESIZE: Final = Perm.RESIZE
NOTHING: Final = Perm(0)
ALL: Final = CONSISTENT_READ | WRITE | WRITE_UNCHANGED | RESIZE

GRAPH_MOD: Final = "graph-mod"
"""A permission that there was once: change the children.  It is shown, and never in conflict:
what blocks operations keeps those apart who would use it."""


class GraphMod(Enum):
    """What a hold has to do with `GRAPH_MOD`."""

    SHARED = "shared"
    KEPT = "kept"
    """Others must not use it."""
    USED = "used"
    """Others must not use it either."""


Permissions = tuple[Perm, Perm]
"""What one parent uses, and what it shares."""

NAMES: Final = (
    (CONSISTENT_READ, "consistent read"),
    (WRITE, "write"),
    (WRITE_UNCHANGED, "write unchanged"),
    (RESIZE, "resize"),
)
"""Names of the permissions, in the order in which messages list them."""

PERMISSION_BITS: Final = {name.replace(" ", "-"): bit for bit, name in NAMES}
"""The permissions by their names in QAPI enum BlockPermission."""

DATA: Final = Role.DATA
METADATA: Final = Role.METADATA
FILTERED: Final = Role.FILTERED
COW: Final = Role.COW
PRIMARY: Final = Role.PRIMARY
NO_ROLE: Final = Role(0)
IMAGE: Final = DATA | METADATA | PRIMARY


def permission_names(permissions: Perm) -> str:
    """The permissions as messages list them."""
    return ", ".join(name for bit, name in NAMES if permissions & bit)


def default_child_permissions(
    role: Role, perm: Perm, shared: Perm, *, writable: bool, active: bool
) -> Permissions:
    """What a driver without rules of its own asks of a child (``bdrv_default_perms``).

    :param role: what the child holds
    :param perm: permissions that the parent's own parents use
    :param shared: permissions that they share
    :param writable: whether the parent node is
    :param active: whether the parent node is
    :returns: permissions used and shared on the child
    """
    if role & FILTERED:
        return perm, shared
    if role & COW:
        perm &= CONSISTENT_READ
        shared = WRITE | RESIZE if shared & WRITE else NOTHING
        shared |= CONSISTENT_READ | WRITE_UNCHANGED
    else:
        if role & METADATA:
            # A format driver changes metadata even when no guest writes.
            perm |= CONSISTENT_READ | (WRITE | RESIZE if writable else NOTHING)
            shared &= ~(WRITE | RESIZE)
        if role & DATA:
            shared &= ~RESIZE
            if perm & WRITE_UNCHANGED:
                perm |= WRITE
            if perm & WRITE:
                perm |= RESIZE
    if not active:
        shared |= WRITE | RESIZE
    return perm, shared
