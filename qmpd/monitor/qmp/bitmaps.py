"""The bitmap commands of schema module block-core, each a transaction of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.block.bits.rules import to_be_hashed
from qmpd.monitor.qmp.handlers import Context, Handler, Handlers
from qmpd.transaction import run_bitmap_action

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from qmpd.profile.models.block_core import BlockDirtyBitmap


def _action(kind: str) -> Handler:
    async def handler(context: Context, arguments: Any) -> None:
        await run_bitmap_action(context.machine, kind, arguments)

    return handler


LONG: Final = 4 << 20
"""Bytes of bits from which on a thread makes the hash, while others have their turn."""


def x_debug_block_dirty_bitmap_sha256(
    context: Context, arguments: BlockDirtyBitmap
) -> dict[str, object] | Coroutine[Any, Any, dict[str, object]]:
    """Hash over the bits of a bitmap."""
    bitmap = to_be_hashed(context.machine.graph, arguments.node, arguments.name)
    if bitmap.hashed_bytes >= LONG:
        return _hash_apart(context, bitmap.hashing())
    return {"sha256": bitmap.sha256()}


async def _hash_apart(context: Context, hashing: Callable[[], str]) -> dict[str, object]:
    return {"sha256": await context.machine.host.apart.do(hashing)}


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
