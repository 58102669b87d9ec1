"""The rules of the bitmap commands: what is looked up, what is refused, with which text.

Each function is the work of one command, and of the transaction action of the
same name; `qmpd.transaction` undoes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from qmpd.block.bits.bitmap import (
    DEFAULT_GRANULARITY,
    MAXIMUM_NAME_BYTES,
    MINIMUM_GRANULARITY,
    DirtyBitmap,
    Saved,
)
from qmpd.block.bits.bitmaps import Bitmaps
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.manners import Manners

_SMALLEST_DEFAULT: Final = 4096


# When a bitmap may be used
#
# A dirty bitmap can be in three conditions that get in the way of a command.
#
# * It is *busy* while something else relies on its bits: a job copies what it says, an NBD
#   export shows it, or a transaction is about to remove it.  Nobody else may change or use it
#   until that is over.
# * It is *read-only* if it was loaded from an image that is open read-only.  The copy in the
#   image says what the bitmap contains, and the two must not come to differ.  Reading it is
#   harmless; so is switching it on or off, since nothing can be written to the node.
# * It is *inconsistent* if it was marked in-use in the image, that is, if the program that
#   wrote the image last did not close it.  Its bits are lost.  All that can be done with it is
#   to remove it, or to look at it.
#
# Each use of a bitmap has a list of the conditions that rule it out.  The order matters: it is
# that of the checks in bdrv_dirty_bitmap_check, so a bitmap in two of these conditions is
# refused with the text of the first.  Some rows are less strict than one might expect:
#
# * "remove" accepts an inconsistent bitmap, which could not be got rid of otherwise.
# * "merge-source", "export" and "backup-never" only read, so read-only bitmaps will do.
#   "backup" is a backup that clears the bitmap, or replaces it by its successor, afterwards.
# * "successor" is checked when a bitmap is about to be frozen; its use was checked before.
# * "sha256" is a debugging command and refuses nothing.


class Obstacle(Enum):
    """A condition of a bitmap that rules out some uses."""

    BUSY = "currently in use by another operation and cannot be used"
    READONLY = "readonly and cannot be modified"
    INCONSISTENT = "inconsistent and cannot be used"


ALL: Final = (Obstacle.BUSY, Obstacle.READONLY, Obstacle.INCONSISTENT)

REFUSED: Final = MappingProxyType(
    {
        "remove": (Obstacle.BUSY, Obstacle.READONLY),
        "clear": ALL,
        "merge-target": ALL,
        "merge-source": (Obstacle.BUSY, Obstacle.INCONSISTENT),
        "enable": (Obstacle.BUSY, Obstacle.INCONSISTENT),
        "disable": (Obstacle.BUSY, Obstacle.INCONSISTENT),
        "successor": (Obstacle.BUSY,),
        "backup": ALL,
        "backup-never": (Obstacle.BUSY, Obstacle.INCONSISTENT),
        "migrate": ALL,
        "export": (Obstacle.BUSY, Obstacle.INCONSISTENT),
        "sha256": (),
    }
)
"""What each use of a bitmap refuses, in the order in which it is looked for."""

_CHECKS: Final = {
    use: tuple((obstacle.name.lower(), obstacle.value) for obstacle in obstacles)
    for use, obstacles in REFUSED.items()
}
"""The same as attributes of a bitmap: transactions check hundreds."""


class External(Protocol):
    """A bitmap of another node, as merge names it."""

    @property
    def node(self) -> str:
        """The node."""

    @property
    def name(self) -> str:
        """The bitmap."""


class _Driver(Protocol):
    @property
    def gone(self) -> bool: ...
    def cluster_size(self) -> int | None: ...
    def check_can_store_bitmap(self, name: str, granularity: int) -> None: ...
    async def remove_persistent_bitmap(self, name: str) -> None: ...


class _Services(Protocol):
    @property
    def manners(self) -> Manners: ...


class Holder(Protocol):
    """A node, as far as bitmaps need it."""

    length: int
    bitmaps: Bitmaps

    @property
    def services(self) -> _Services:
        """The surroundings of its graph."""

    @property
    def read_only(self) -> bool:
        """Whether it may not be written."""

    @property
    def active(self) -> bool:
        """Whether it has not been given up to another process."""

    @property
    def driver(self) -> _Driver:
        """The driver, which may be able to store bitmaps."""


HolderT = TypeVar("HolderT", bound=Holder)
HolderT_co = TypeVar("HolderT_co", bound=Holder, covariant=True)


class Graph(Protocol[HolderT_co]):
    """A graph, as far as bitmap commands need it."""

    def lookup(self, name: str, /) -> HolderT_co:
        """The root of the backend called `name`, or the node called so."""


def check(bitmap: DirtyBitmap, use: str) -> None:
    """Refuse `use` (a key of `REFUSED`) of a bitmap in an unsuitable condition.

    :raises GenericError: QEMU's text for the first obstacle
    """
    for attribute, text in _CHECKS[use]:
        if getattr(bitmap, attribute):
            raise GenericError(f"Bitmap '{bitmap.name}' is {text}")


def find(node: Holder, name: str) -> DirtyBitmap | None:
    """Bitmap `name` of `node`."""
    return node.bitmaps.named(name)


def lookup(graph: Graph[HolderT], node_name: str, name: str) -> tuple[HolderT, DirtyBitmap]:
    """The node (or root of the backend) `node_name`, and its bitmap `name`.

    :raises GenericError: one of them does not exist
    """
    try:
        node = graph.lookup(node_name)
    except GenericError:
        raise GenericError(f"Node '{node_name}' not found") from None
    return node, _of(node, name)


def _of(node: Holder, name: str) -> DirtyBitmap:
    bitmap = find(node, name)
    if bitmap is None:
        raise GenericError(f"Dirty bitmap '{name}' not found")
    return bitmap


def default_granularity(node: Holder) -> int:
    """The node's cluster size, within 4 KiB and 64 KiB; 64 KiB where it has none. Bytes."""
    cluster = node.driver.cluster_size()
    if not cluster:
        return DEFAULT_GRANULARITY
    return min(max(cluster, _SMALLEST_DEFAULT), DEFAULT_GRANULARITY)


def add(
    graph: Graph[HolderT],
    node_name: str,
    name: str,
    *,
    granularity: int | None = None,
    persistent: bool = False,
    disabled: bool = False,
) -> tuple[HolderT, DirtyBitmap]:
    """Make an empty bitmap.

    :param granularity: bytes per bit; the node's default if absent
    :param persistent: store it when the node is closed
    :param disabled: do not record yet
    :raises GenericError: with QEMU's text; checks are in QEMU's order
    """
    if not name:
        raise GenericError("Bitmap name cannot be empty")
    node = graph.lookup(node_name)
    if granularity is None:
        granularity = default_granularity(node)
    elif granularity < MINIMUM_GRANULARITY or granularity & (granularity - 1):
        raise GenericError("Granularity must be power of 2 and at least 512")
    if persistent:
        refuses = node.services.manners.bitmaps_need_a_writable_node
        if refuses and (node.read_only or not node.active):
            raise GenericError(
                f"Cannot add a persistent bitmap to read-only or inactive node '{node_name}'"
            )
        node.driver.check_can_store_bitmap(name, granularity)
    if find(node, name) is not None:
        raise GenericError(f"Bitmap already exists: {name}")
    if len(name.encode("utf-8", "surrogateescape")) > MAXIMUM_NAME_BYTES:
        raise GenericError(f"Bitmap name too long: {name}")
    if node.driver.gone:
        raise GenericError("could not get length of device: No medium found")
    bitmap = DirtyBitmap(
        node.length, granularity, name, enabled=not disabled, persistent=persistent
    )
    node.bitmaps.add(bitmap)
    return node, bitmap


async def begin_remove(
    graph: Graph[HolderT], node_name: str, name: str
) -> tuple[HolderT, DirtyBitmap]:
    """Check a removal and delete the stored copy of a persistent bitmap.

    :raises GenericError: it is refused, or the image cannot be changed
    """
    node, bitmap = lookup(graph, node_name, name)
    check(bitmap, "remove")
    if bitmap.persistent:
        await node.driver.remove_persistent_bitmap(name)
    return node, bitmap


def clear(graph: Graph[Holder], node_name: str, name: str) -> tuple[DirtyBitmap, Saved]:
    """Clear all bits; returns them for undo."""
    _, bitmap = lookup(graph, node_name, name)
    check(bitmap, "clear")
    return bitmap, bitmap.clear()


def set_enabled(
    graph: Graph[Holder], node_name: str, name: str, *, enabled: bool
) -> tuple[DirtyBitmap, bool]:
    """Enable or disable a bitmap; returns whether it was enabled."""
    _, bitmap = lookup(graph, node_name, name)
    check(bitmap, "enable" if enabled else "disable")
    before = bitmap.enabled
    bitmap.enabled = enabled
    return bitmap, before


def merge(
    graph: Graph[Holder], node_name: str, target: str, sources: Sequence[str | External]
) -> tuple[DirtyBitmap, Saved]:
    """Set in `target` every bit that is set in a source; returns the target's bits for undo.

    The target is checked again for each source, after the source has been found and before it is
    checked (block_dirty_bitmap_merge); without sources the target may be in any condition.

    :param sources: names of bitmaps of the same node, or bitmaps of others
    :raises GenericError: a source or the target is missing or unsuitable; nothing has changed
    """
    node, bitmap = lookup(graph, node_name, target)
    saved = bitmap.save()
    try:
        for source in sources:
            if isinstance(source, str):
                other = _of(node, source)
            else:
                _, other = lookup(graph, source.node, source.name)
            merge_one(bitmap, other)
    except GenericError:
        bitmap.restore(saved)
        raise
    return bitmap, saved


def merge_one(bitmap: DirtyBitmap, source: DirtyBitmap) -> None:
    """Set in `bitmap` every bit that is set in `source`.

    :raises GenericError: one of them is unsuitable, or their sizes differ
    """
    check(bitmap, "merge-target")
    check(source, "merge-source")
    if source.size != bitmap.size:
        raise GenericError(
            f"Bitmaps are of different sizes (destination size is {bitmap.size},"
            f" source size is {source.size}) and can't be merged"
        )
    bitmap.merge_from(source)


def to_be_hashed(graph: Graph[Holder], node_name: str, name: str) -> DirtyBitmap:
    """The bitmap to take the hash of; see `DirtyBitmap.sha256`."""
    _, bitmap = lookup(graph, node_name, name)
    return bitmap
