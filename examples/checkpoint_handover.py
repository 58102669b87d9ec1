#!/usr/bin/env python3
"""Hand over from one checkpoint to the next in a single transaction.

Since checkpoint 1 its bitmap has recorded all writes. At one moment, with no
write in between, a new bitmap takes over and the old one stops: afterwards the
old bitmap says what changed between the checkpoints, the new one what changes
from now on. If any action fails, none has happened.

Usage: checkpoint_handover.py SOCKET [NODE]
"""

import asyncio
import sys
from typing import Any

from qemu.qmp import ExecuteError, QMPClient


def action(kind: str, **data: Any) -> dict[str, Any]:
    """One action of a transaction."""
    return {"type": f"block-dirty-bitmap-{kind}", "data": data}


async def write(qmp: QMPClient, node: str, offset: str, length: str) -> None:
    """Write as a guest would."""
    line = f'qemu-io {node} "write -q {offset} {length}"'
    await qmp.execute("human-monitor-command", {"command-line": line})


async def counts(qmp: QMPClient, node: str) -> dict[str, int]:
    """Dirty bytes of every bitmap of `node`."""
    nodes: Any = await qmp.execute("query-named-block-nodes", {"flat": True})
    info = next(info for info in nodes if info["node-name"] == node)
    return {b["name"]: b["count"] for b in reversed(info.get("dirty-bitmaps", []))}


async def main(socket: str, node: str = "disk0") -> None:
    """Run the hand-over on the daemon at `socket`."""
    qmp = QMPClient("checkpoint-handover")
    await qmp.connect(socket)
    try:
        await qmp.execute("block-dirty-bitmap-add", {"node": node, "name": "checkpoint1"})
        await write(qmp, node, "0", "192k")
        handover = [
            action("add", node=node, name="checkpoint2"),
            action("disable", node=node, name="checkpoint1"),
        ]
        await qmp.execute("transaction", {"actions": handover})
        await write(qmp, node, "8M", "64k")
        print("after the hand-over:", await counts(qmp, node))

        doomed = [
            action("clear", node=node, name="checkpoint1"),
            action("remove", node=node, name="no-such-bitmap"),
        ]
        try:
            await qmp.execute("transaction", {"actions": doomed})
        except ExecuteError as error:
            print("refused:", error)
        print("nothing has changed:", await counts(qmp, node))

        for name in ("checkpoint1", "checkpoint2"):
            await qmp.execute("block-dirty-bitmap-remove", {"node": node, "name": name})
    finally:
        await qmp.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
