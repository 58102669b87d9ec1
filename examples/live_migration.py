#!/usr/bin/env python3
"""Move a running disk to another image.

A mirror copies the disk, and then keeps both alike. Completing it pivots: whoever used the disk
uses the new image from then on, without having noticed. The old image stays as it was at that
moment.

Usage: live_migration.py SOCKET [NODE [DIRECTORY]]

NODE is a disk on an image file. The new image is made by the daemon, in its own view of
DIRECTORY.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from disks import Daemon, Guest, create_image, find_node, full_copy, main, on_file, same_content

KIB, MIB = 1 << 10, 1 << 20


class Migration:
    """The move of one disk.

    :param disk: what `find_node` says of it
    :param filename: the new image
    """

    def __init__(self, daemon: Daemon, disk: dict[str, Any], filename: str) -> None:
        self.daemon = daemon
        self.source = disk["node-name"]
        self.image = disk["image"]
        self.filename = filename

    async def begin(self, speed: int = 0) -> None:
        """Begin to copy; the guest now writes to the node `mirror`.

        :param speed: bytes per second at most, 0 for no limit
        """
        await create_image(self.daemon, self.filename, self.image["virtual-size"])
        target = on_file("qcow2", self.filename, **{"node-name": "moved"})
        await self.daemon.execute("blockdev-add", target)
        mirror = {"device": self.source, "target": "moved", "sync": "full", "speed": speed}
        try:
            named = {**mirror, "filter-node-name": "mirror"}
            await self.daemon.start("blockdev-mirror", "migration", named)
        except BaseException:
            await self.daemon.execute("blockdev-del", {"node-name": "moved"})
            raise

    async def synchronise(self) -> None:
        """Copy at full speed until both are alike."""
        await self.daemon.execute("block-job-set-speed", {"device": "migration", "speed": 0})
        await self.daemon.reach("migration", "ready")

    async def complete(self) -> None:
        """Pivot to the new image, and let the old one go."""
        await self.daemon.pivot("migration")
        nodes = await self.daemon.execute("query-named-block-nodes", {"flat": True})
        # A node that a command line made with -drive goes by itself.
        if any(node["node-name"] == self.source for node in nodes):
            await self.daemon.execute("blockdev-del", {"node-name": self.source})

    def old(self) -> dict[str, Any]:
        """The image that the disk was on."""
        return on_file(self.image["format"], self.image["filename"])


async def run(daemon: Daemon, disk: str, directory: Path) -> None:
    """The move of a disk whose guest never stops writing."""
    guest = Guest(daemon, directory)
    filename = str(directory / "moved.qcow2")
    migration = Migration(daemon, await find_node(daemon, disk), filename)
    copy = on_file("qcow2", str(directory / "copy.qcow2"))

    await guest.write(migration.source, 0, 256 * KIB, 1)
    await guest.write(migration.source, 40 * MIB, 256 * KIB, 2)
    await migration.begin(speed=1 * MIB)
    await guest.write("mirror", 40 * MIB, 128 * KIB, 3)
    await guest.write("mirror", 50 * MIB, 64 * KIB, 4)
    await migration.synchronise()
    await guest.write("mirror", 64 * KIB, 64 * KIB, 5)

    await migration.complete()
    await full_copy(daemon, "moved", str(directory / "copy.qcow2"))
    print("both are alike:", await same_content(daemon, migration.old(), copy))
    await guest.write("moved", 128 * KIB, 64 * KIB, 6)
    await full_copy(daemon, "moved", str(directory / "copy.qcow2"))
    print("the guest writes to the new one:", not await same_content(daemon, migration.old(), copy))


if __name__ == "__main__":
    main(run, *sys.argv[1:])
