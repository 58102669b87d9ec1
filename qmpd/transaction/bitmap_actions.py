"""The actions of dirty bitmaps; their checks and effects are in `qmpd.block.bits.rules`."""

from __future__ import annotations

from typing import ClassVar

from qmpd.block.bits import rules as bitmap_commands
from qmpd.block.bits.bitmap import DirtyBitmap, Saved
from qmpd.block.model.node import Node
from qmpd.transaction.core import Action


class BitmapAdd(Action):
    """block-dirty-bitmap-add."""

    _node: Node | None = None

    async def prepare(self) -> None:
        """Add the bitmap."""
        data = self.data
        self._node, _ = bitmap_commands.add(
            self.graph,
            data.node,
            data.name,
            granularity=data.granularity,
            persistent=bool(data.persistent),
            disabled=bool(data.disabled),
        )

    async def abort(self) -> None:
        """Drop the bitmap, or the successor that has its name once a backup is aborted."""
        if self._node is not None:
            bitmap = self._node.bitmaps.named(self.data.name)
            assert bitmap is not None
            self._node.bitmaps.remove(bitmap)


class BitmapRemove(Action):
    """block-dirty-bitmap-remove: the bitmap stays, busy, until commit."""

    _removed: tuple[Node, DirtyBitmap] | None = None

    async def prepare(self) -> None:
        """Delete the stored copy and make the bitmap unusable."""
        self._removed = await bitmap_commands.begin_remove(
            self.graph, self.data.node, self.data.name
        )
        _, bitmap = self._removed
        bitmap.skip_store = bitmap.busy = True

    async def commit(self) -> None:
        """Drop the bitmap."""
        if self._removed is not None:
            node, bitmap = self._removed
            bitmap.busy = False
            node.bitmaps.remove(bitmap)

    async def abort(self) -> None:
        """Make the bitmap usable again; it will be stored when its node is closed."""
        if self._removed is not None:
            _, bitmap = self._removed
            bitmap.skip_store = bitmap.busy = False


class _BitsAction(Action):
    """An action that changes bits and keeps the old ones until the end."""

    _changed: tuple[DirtyBitmap, Saved] | None = None

    async def abort(self) -> None:
        """Restore the old bits."""
        if self._changed is not None:
            bitmap, saved = self._changed
            bitmap.restore(saved)


class BitmapClear(_BitsAction):
    """block-dirty-bitmap-clear."""

    async def prepare(self) -> None:
        """Clear all bits."""
        self._changed = bitmap_commands.clear(self.graph, self.data.node, self.data.name)


class BitmapMerge(_BitsAction):
    """block-dirty-bitmap-merge."""

    async def prepare(self) -> None:
        """Merge the sources into the target."""
        self._changed = bitmap_commands.merge(
            self.graph, self.data.node, self.data.target, self.data.bitmaps
        )


class BitmapEnable(Action):
    """block-dirty-bitmap-enable."""

    enabled: ClassVar[bool] = True
    _changed: tuple[DirtyBitmap, bool] | None = None

    async def prepare(self) -> None:
        """Enable or disable the bitmap."""
        self._changed = bitmap_commands.set_enabled(
            self.graph, self.data.node, self.data.name, enabled=self.enabled
        )

    async def abort(self) -> None:
        """Undo that."""
        if self._changed is not None:
            bitmap, before = self._changed
            bitmap.enabled = before


class BitmapDisable(BitmapEnable):
    """block-dirty-bitmap-disable."""

    enabled = False
