#!/usr/bin/env python3
"""Backup of a running disk with a temporary snapshot.

A new image is put in front of the disk's. From then on the guest writes to this overlay, and the
disk's own image stands still: any program may copy it. When the copy is made an active commit
writes the overlay back, while the guest goes on, and pivots: the disk is as it was before, and
the overlay can go.

Usage: snapshot_backup.py SOCKET [NODE [DIRECTORY]]

NODE is a disk on an image file. The backup is made by the daemon, in its own view of DIRECTORY.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from disks import (
    Daemon,
    Guest,
    create_image,
    find_node,
    full_copy,
    main,
    on_file,
    opened,
    same_content,
)

KIB = 1 << 10


class SnapshotBackup:
    """One backup of one disk.

    :param disk: what `find_node` says of it
    :param directory: where the overlay and the backup go
    """

    def __init__(self, daemon: Daemon, disk: dict[str, Any], directory: Path) -> None:
        self.daemon = daemon
        self.node = disk["node-name"]
        self.image = disk["image"]
        self.directory = directory

    async def freeze(self) -> None:
        """Put the overlay in front of the disk."""
        filename = str(self.directory / "overlay.qcow2")
        # The header names the disk, too: after a crash the overlay is found to belong to it.
        backing = {"backing-file": self.image["filename"], "backing-fmt": self.image["format"]}
        await create_image(self.daemon, filename, self.image["virtual-size"], backing)
        # But no backing file is opened: the snapshot makes the disk's node that.
        overlay = on_file("qcow2", filename, backing=None, **{"node-name": "overlay"})
        await self.daemon.execute("blockdev-add", overlay)
        try:
            snapshot = {"node": self.node, "overlay": "overlay"}
            await self.daemon.execute("blockdev-snapshot", snapshot)
        except BaseException:
            await self.daemon.execute("blockdev-del", {"node-name": "overlay"})
            raise

    def frozen(self) -> dict[str, Any]:
        """The disk's image as another program opens it."""
        return on_file(self.image["format"], self.image["filename"], **{"read-only": True})

    async def copy(self, name: str) -> None:
        """Copy the frozen image; no guest's write goes through this."""
        async with opened(self.daemon, "frozen", self.frozen()) as frozen:
            await full_copy(self.daemon, frozen, str(self.directory / name))

    async def begin_to_thaw(self) -> None:
        """Begin to write the overlay back; the guest now writes to the node `thaw`."""
        merging = {"device": "overlay", "base-node": self.node, "filter-node-name": "thaw"}
        await self.daemon.start("block-commit", "thaw", merging)

    async def thaw(self) -> None:
        """Give the guest its disk again, with all that it has written."""
        await self.daemon.pivot("thaw")
        await self.daemon.execute("blockdev-del", {"node-name": "overlay"})


async def run(daemon: Daemon, disk: str, directory: Path) -> None:
    """One backup, with a guest that writes before, meanwhile and after."""
    guest = Guest(daemon, directory)
    backup = SnapshotBackup(daemon, await find_node(daemon, disk), directory)
    image = on_file("qcow2", str(directory / "backup.qcow2"))

    await guest.write(backup.node, 0, 256 * KIB, 1)
    await backup.freeze()
    await guest.write("overlay", 64 * KIB, 64 * KIB, 2)
    await backup.copy("backup.qcow2")
    await guest.write("overlay", 512 * KIB, 64 * KIB, 3)
    print("the backup is the frozen disk:", await same_content(daemon, image, backup.frozen()))

    await backup.begin_to_thaw()
    await guest.write("thaw", 1024 * KIB, 64 * KIB, 4)
    await backup.thaw()
    await guest.write(backup.node, 0, 64 * KIB, 5)
    await full_copy(daemon, disk, str(directory / "now.qcow2"))
    now = on_file("qcow2", str(directory / "now.qcow2"))
    print("it is the disk no longer:", not await same_content(daemon, image, now))


if __name__ == "__main__":
    main(run, *sys.argv[1:])
