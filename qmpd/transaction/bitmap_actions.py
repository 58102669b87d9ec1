"""The actions of dirty bitmaps; what they do is in `qmpd.block.bits.rules`."""

from __future__ import annotations

from typing import ClassVar

from qmpd.block.bits import rules as bitmap_commands
from qmpd.block.bits.bitmap import DirtyBitmap, Saved
from qmpd.block.model.node import Node
from qmpd.transaction.core import Action


class BitmapAdd(Action):
    """block-dirty-bitmap-add."""

    _made: tuple[Node, DirtyBitmap] | None = None

    async def prepare(self) -> None:
        """The bitmap is there and records."""
        data = self.data
        self._made = bitmap_commands.add(
            self.graph,
            data.node,
            data.name,
            granularity=data.granularity,
            persistent=bool(data.persistent),
            disabled=bool(data.disabled),
        )

    async def abort(self) -> None:
        """The bitmap is dropped."""
        if self._made is not None:
            node, bitmap = self._made
            node.bitmaps.remove(bitmap)


class BitmapRemove(Action):
    """block-dirty-bitmap-remove: until commit the bitmap is there, but busy."""

    _removed: tuple[Node, DirtyBitmap] | None = None

    async def prepare(self) -> None:
        """The stored copy is deleted, the bitmap itself out of reach."""
        self._removed = await bitmap_commands.begin_remove(
            self.graph, self.data.node, self.data.name
        )
        _, bitmap = self._removed
        bitmap.skip_store = bitmap.busy = True

    async def commit(self) -> None:
        """The bitmap is released."""
        if self._removed is not None:
            node, bitmap = self._removed
            bitmap.busy = False
            node.bitmaps.remove(bitmap)

    async def abort(self) -> None:
        """It is as before, and will be stored again when its node is closed."""
        if self._removed is not None:
            _, bitmap = self._removed
            bitmap.skip_store = bitmap.busy = False


class _BitsAction(Action):
    """Changes bits; keeps the old ones until the end."""

    _changed: tuple[DirtyBitmap, Saved] | None = None

    async def abort(self) -> None:
        """The old bits are back."""
        if self._changed is not None:
            bitmap, saved = self._changed
            bitmap.restore(saved)


class BitmapClear(_BitsAction):
    """block-dirty-bitmap-clear."""

    async def prepare(self) -> None:
        """All bits are clear."""
        self._changed = bitmap_commands.clear(self.graph, self.data.node, self.data.name)


class BitmapMerge(_BitsAction):
    """block-dirty-bitmap-merge."""

    async def prepare(self) -> None:
        """The sources' bits are set in the target."""
        self._changed = bitmap_commands.merge(
            self.graph, self.data.node, self.data.target, self.data.bitmaps
        )


class BitmapEnable(Action):
    """block-dirty-bitmap-enable."""

    enabled: ClassVar[bool] = True
    _changed: tuple[DirtyBitmap, bool] | None = None

    async def prepare(self) -> None:
        """The bitmap records, or does not."""
        self._changed = bitmap_commands.set_enabled(
            self.graph, self.data.node, self.data.name, enabled=self.enabled
        )

    async def abort(self) -> None:
        """It does what it did before."""
        if self._changed is not None:
            bitmap, before = self._changed
            bitmap.enabled = before


class BitmapDisable(BitmapEnable):
    """block-dirty-bitmap-disable."""

    enabled = False
