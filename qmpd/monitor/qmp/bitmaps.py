"""The bitmap commands of schema module block-core, each a transaction of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.bits.rules import sha256
from qmpd.monitor.qmp.handlers import Context, Handler, Handlers
from qmpd.transaction import run_bitmap_action

if TYPE_CHECKING:
    from qmpd.profile.models.block_core import BlockDirtyBitmap


def _action(kind: str) -> Handler:
    async def handler(context: Context, arguments: Any) -> None:
        await run_bitmap_action(context.machine, kind, arguments)

    return handler


def x_debug_block_dirty_bitmap_sha256(
    context: Context, arguments: BlockDirtyBitmap
) -> dict[str, object]:
    """Hash over the bits of a bitmap."""
    return {"sha256": sha256(context.machine.graph, arguments.node, arguments.name)}


_ACTIONS: Final = (
    "block-dirty-bitmap-add",
    "block-dirty-bitmap-remove",
    "block-dirty-bitmap-clear",
    "block-dirty-bitmap-enable",
    "block-dirty-bitmap-disable",
    "block-dirty-bitmap-merge",
)
"""Commands that are a transaction of one action, which has the same name."""

HANDLERS: Final[Handlers] = {
    **{kind: _action(kind) for kind in _ACTIONS},
    "x-debug-block-dirty-bitmap-sha256": x_debug_block_dirty_bitmap_sha256,
}
