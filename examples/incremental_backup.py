#!/usr/bin/env python3
"""Incremental backup of a running disk, from the first full copy to the restored disk.

    full.qcow2 <- inc1.qcow2 <- inc2.qcow2 <- inc3.qcow2

A dirty bitmap records what the guest writes. The full backup and the bitmap begin at the same
moment, in one transaction. Each incremental backup copies what the bitmap says into a new image
whose backing file is the backup before it, and takes exactly that out of the bitmap. If one
fails, the bitmap still has everything, and the next try copies it.

Usage: incremental_backup.py SOCKET [NODE [DIRECTORY]]

The backups are made by the daemon, in its own view of DIRECTORY.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from disks import (
    Daemon,
    Guest,
    JobFailed,
    create_image,
    find_node,
    full_copy,
    main,
    on_file,
    opened,
    same_content,
)

BITMAP = "incremental"
KIB, MIB = 1 << 10, 1 << 20


class Backup:
    """The chain of backups of one disk.

    :param disk: its node
    :param directory: where the images go
    """

    def __init__(self, daemon: Daemon, disk: str, directory: Path) -> None:
        self.daemon = daemon
        self.disk = disk
        self.directory = directory
        self.images: list[str] = []
        """File names in the directory, the full backup first."""

    async def full(self) -> None:
        """Begin the chain: copy everything, and from that moment on record what changes.

        :raises JobFailed: nothing has begun
        """
        name = "full.qcow2"
        await self._create(name)
        async with opened(self.daemon, "target", self._image(name)) as target:
            bitmap = {"node": self.disk, "name": BITMAP}
            job = {"job-id": "backup", "device": self.disk, "target": target, "sync": "full"}
            actions = [
                {"type": "block-dirty-bitmap-add", "data": bitmap},
                {"type": "blockdev-backup", "data": {**job, "auto-dismiss": False}},
            ]
            await self.daemon.execute("transaction", {"actions": actions})
            try:
                await self.daemon.finish("backup")
            except JobFailed:
                await self.forget()
                raise
        self.images.append(name)

    async def incremental(self, fault: dict[str, Any] | None = None) -> None:
        """Add what has changed since the last backup.

        :param fault: makes the writing of the image fail (a rule of blkdebug)
        :raises JobFailed: nothing was added; the bitmap is as if it had not been tried
        """
        name = f"inc{len(self.images)}.qcow2"
        await self._create(name)
        image = self._image(name)
        if fault is not None:
            faulty = {"driver": "blkdebug", "image": image["file"], "inject-error": [fault]}
            image["file"] = faulty
        async with opened(self.daemon, "target", image) as target:
            job = {"device": self.disk, "target": target, "sync": "incremental", "bitmap": BITMAP}
            await self.daemon.run("blockdev-backup", "backup", job)
        self.images.append(name)

    async def restore(self, name: str) -> None:
        """Copy what the newest backup and those below it hold into one new image."""
        newest = {**self._image(self.images[-1]), "read-only": True}
        async with opened(self.daemon, "chain", newest) as chain:
            await full_copy(self.daemon, chain, self._path(name))

    async def is_the_disk(self, name: str) -> bool:
        """Whether an image holds what the disk holds now."""
        await full_copy(self.daemon, self.disk, self._path("now.qcow2"))
        return await same_content(self.daemon, self._image(name), self._image("now.qcow2"))

    async def dirty_bytes(self) -> int:
        """How much the next incremental backup has to copy."""
        bitmaps = (await find_node(self.daemon, self.disk))["dirty-bitmaps"]
        return next(int(info["count"]) for info in bitmaps if info.get("name") == BITMAP)

    async def forget(self) -> None:
        """Record no longer; the chain ends here."""
        bitmap = {"node": self.disk, "name": BITMAP}
        await self.daemon.execute("block-dirty-bitmap-remove", bitmap)

    def _path(self, name: str) -> str:
        return str(self.directory / name)

    def _image(self, name: str) -> dict[str, Any]:
        return on_file("qcow2", self._path(name))

    async def _size(self) -> int:
        return int((await find_node(self.daemon, self.disk))["image"]["virtual-size"])

    async def _create(self, name: str) -> None:
        """Make the image for a backup, above the one before it."""
        backing = {}
        if self.images:
            # Without a directory: the chain may be moved to another one.
            backing = {"backing-file": self.images[-1], "backing-fmt": "qcow2"}
        await create_image(self.daemon, self._path(name), await self._size(), backing)


async def run(daemon: Daemon, disk: str, directory: Path) -> None:
    """The life of a chain, with a guest that writes between the backups."""
    guest, backup = Guest(daemon, directory), Backup(daemon, disk, directory)
    await guest.write(disk, 0, 256 * KIB, 1)
    await backup.full()
    print("full.qcow2")

    await guest.write(disk, 1 * MIB, 128 * KIB, 2)
    await add_incremental(backup)
    await guest.write(disk, 1 * MIB, 64 * KIB, 3)
    await guest.write(disk, 8 * MIB, 64 * KIB, 4)
    await add_incremental(backup)

    await guest.write(disk, 0, 192 * KIB, 5)
    try:
        await backup.incremental(fault={"event": "write_aio", "errno": 28})
    except JobFailed as failure:
        print(f"failed: {failure.reason}")
    # What is written before the next try will be in it as well.
    await guest.write(disk, 9 * MIB, 64 * KIB, 6)
    await add_incremental(backup)

    await backup.restore("restored.qcow2")
    print("restored.qcow2 is the disk:", await backup.is_the_disk("restored.qcow2"))
    await guest.write(disk, 0, 64 * KIB, 7)
    print("after another write:", await backup.is_the_disk("restored.qcow2"))
    await backup.forget()


async def add_incremental(backup: Backup) -> None:
    """Add one, and say what it had to copy."""
    dirty = await backup.dirty_bytes()
    await backup.incremental()
    print(f"{backup.images[-1]}: {dirty // KIB} KiB, left: {await backup.dirty_bytes()}")


if __name__ == "__main__":
    main(run, *sys.argv[1:])
