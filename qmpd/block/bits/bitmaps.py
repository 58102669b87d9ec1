"""The dirty bitmaps of one node (``bs->dirty_bitmaps``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Reversible

from qmpd.base.override import override
from qmpd.block.bits.bitmap import DirtyBitmap


class Bitmaps(Collection[DirtyBitmap], Reversible[DirtyBitmap]):
    """The bitmaps of a node, the newest first, and which one has which name.

    A node may have thousands of them: none is looked for one by one, and none moves the others.
    """

    def __init__(self) -> None:
        self.by_age: dict[DirtyBitmap, None] = {}
        """The oldest first; for each write it is looked at whether there are any."""
        self._named: dict[str, DirtyBitmap] = {}
        self._doubles = 0
        """How many have the name of a newer one, which only damaged images bring about."""

    def named(self, name: str) -> DirtyBitmap | None:
        """The newest bitmap called `name`."""
        return self._named.get(name)

    @override
    def __iter__(self) -> Iterator[DirtyBitmap]:
        return reversed(self.by_age)

    @override
    def __reversed__(self) -> Iterator[DirtyBitmap]:
        return iter(self.by_age)

    @override
    def __len__(self) -> int:
        return len(self.by_age)

    @override
    def __contains__(self, element: object) -> bool:
        return element in self.by_age

    def add(self, element: DirtyBitmap) -> None:
        """Put `element` before all others."""
        self.by_age[element] = None
        if element.name is not None:
            self._doubles += element.name in self._named
            self._named[element.name] = element

    def remove(self, element: DirtyBitmap) -> None:
        """Take `element` out."""
        del self.by_age[element]
        name = element.name
        if name is None:
            return
        if self._named[name] is not element:
            self._doubles -= 1
            return
        del self._named[name]
        if self._doubles:
            for other in self:
                if other.name == name:
                    self._named[name] = other
                    self._doubles -= 1
                    break

    def take_place(self, bitmap: DirtyBitmap, successor: DirtyBitmap) -> None:
        """Remove `bitmap`, which becomes anonymous; `successor`, which was, gets its name."""
        self.remove(bitmap)
        successor.name, bitmap.name = bitmap.name, None
        if successor.name is not None:
            self._named[successor.name] = successor
