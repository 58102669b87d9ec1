#!/usr/bin/env python3
"""A bitmap session with qemu.qmp: record writes, look at what is dirty, clean up.

Usage: bitmap_session.py SOCKET [NODE]
"""

import asyncio
import sys
from typing import Any

from qemu.qmp import QMPClient


async def dirty_bytes(qmp: QMPClient, node: str, name: str) -> int:
    """How many bytes bitmap `name` of `node` says were written."""
    nodes: Any = await qmp.execute("query-named-block-nodes", {"flat": True})
    for info in nodes:
        if info["node-name"] == node:
            count: int = next(b["count"] for b in info["dirty-bitmaps"] if b["name"] == name)
            return count
    raise LookupError(node)


async def main(socket: str, node: str = "disk0") -> None:
    """Run the session on the daemon at `socket`."""
    qmp = QMPClient("bitmap-session")
    await qmp.connect(socket)
    try:
        bitmap = {"node": node, "name": "backup0"}
        await qmp.execute("block-dirty-bitmap-add", {**bitmap, "granularity": 65536})
        write = f'qemu-io {node} "write -q -P 7 1M 128k"'
        await qmp.execute("human-monitor-command", {"command-line": write})
        print("dirty:", await dirty_bytes(qmp, node, "backup0"), "bytes")
        digest: Any = await qmp.execute("x-debug-block-dirty-bitmap-sha256", bitmap)
        print("sha256:", digest["sha256"])
        await qmp.execute("block-dirty-bitmap-clear", bitmap)
        print("dirty after clear:", await dirty_bytes(qmp, node, "backup0"), "bytes")
        await qmp.execute("block-dirty-bitmap-remove", bitmap)
    finally:
        await qmp.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
