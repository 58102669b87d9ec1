"""The dirty bitmaps of one node (``bs->dirty_bitmaps``)."""

from __future__ import annotations

from collections.abc import Iterator

from qmpd.base.override import override
from qmpd.block.bits.bitmap import DirtyBitmap


class Bitmaps(list[DirtyBitmap]):
    """The bitmaps of a node, the newest first, and which one has which name.

    A node may have thousands of them, so that names are not looked for one by one, and a new one
    does not move all others: the list has the oldest first, who goes through it sees the newest.
    """

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, DirtyBitmap] = {}
        self._doubles = 0
        """How many have the name of a newer one, which only damaged images bring about."""

    def named(self, name: str) -> DirtyBitmap | None:
        """The newest bitmap called `name`."""
        return self._named.get(name)

    @override
    def __iter__(self) -> Iterator[DirtyBitmap]:
        return super().__reversed__()

    @override
    def __reversed__(self) -> Iterator[DirtyBitmap]:
        return super().__iter__()

    def add(self, element: DirtyBitmap) -> None:
        """Put `element` before all others."""
        self.append(element)
        if element.name is not None:
            self._doubles += element.name in self._named
            self._named[element.name] = element

    @override
    def remove(self, element: DirtyBitmap, /) -> None:
        if self and self[-1] is element:
            self.pop()
        else:
            super().remove(element)
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
