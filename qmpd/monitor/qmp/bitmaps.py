"""The bitmap commands of schema module block-core, each a transaction of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.bits.rules import sha256
from qmpd.monitor.qmp.handlers import CommandTable, Context, Handler
from qmpd.transaction import run_action

if TYPE_CHECKING:
    from qmpd.profile.models.block_core import BlockDirtyBitmap

BITMAPS = CommandTable()


def _action(kind: str) -> Handler:
    async def handler(context: Context, arguments: Any) -> None:
        await run_action(context.machine, kind, arguments, drained=False)

    return handler


for _kind in ("add", "remove", "clear", "enable", "disable", "merge"):
    BITMAPS.command(f"block-dirty-bitmap-{_kind}")(_action(f"block-dirty-bitmap-{_kind}"))


@BITMAPS.command("x-debug-block-dirty-bitmap-sha256")
def x_debug_block_dirty_bitmap_sha256(
    context: Context, arguments: BlockDirtyBitmap
) -> dict[str, object]:
    """Hash over the bits of a bitmap."""
    return {"sha256": sha256(context.machine.graph, arguments.node, arguments.name)}
