#!/usr/bin/env python3
"""Incremental backup of the disks of a running virtual machine, over its QMP socket.

    vmbackup.py full SOCKET DIRECTORY [--disk NAME ...]    begin: copy everything
    vmbackup.py inc SOCKET DIRECTORY                       add what has changed since
    vmbackup.py list DIRECTORY                             what there is
    vmbackup.py restore SOCKET DIRECTORY TARGET [--point N]

The directory holds a qcow2 image for each disk and point in time, each upon the one before it,
and `manifest.json`, which says which of them are whole.  The machine writes the images; any
machine or storage daemon can restore them.

The tool may be killed at any moment, and so may the machine and its host:

* A point exists when the manifest says so.  That is written last, in one piece, when the images
  are closed and all of them is on the disk.
* What changes after point N is recorded by the bitmap ``vmbackup-ID-N``.  Nothing is taken out of
  it, however the next backup ends.  It goes when the manifest has N + 1, whose own bitmap has
  recorded since before the copy began.
* Every run first clears away what an earlier one has left: jobs, nodes and bitmaps of its names.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from machine import LOST, Json, Machine, connected
from manifest import BackupError, Manifest, Point, locked, sync_directory
from qemu.qmp import ExecuteError


class Backup:
    """The backups of a machine in a directory."""

    def __init__(self, vm: Machine, directory: Path, speed: int = 0) -> None:
        self.vm = vm
        self.directory = directory
        self.speed = speed
        """Bytes a second of each copy; 0 for no limit."""
        self.manifest = Manifest.load(directory)
        self.prefix = f"vmbackup-{self.manifest.id}-"
        """What the names of our jobs, nodes and bitmaps begin with."""

    async def full(self, names: Sequence[str]) -> Point:
        """Begin a chain with a copy of everything.

        :param names: the disks; every writable medium in a device if there are none
        """
        self.manifest.save(self.directory)  # so that our names are known before they are used
        await self.clear_away()
        if not names:
            devices = await self.vm.devices()
            names = [name for name, info in devices.items() if not info["ro"]]
        if not names:
            raise BackupError("there is no writable disk in a device; say which with --disk")
        return await self._add(await self._find(names), None)

    async def incremental(self) -> Point:
        """Add what has changed since the newest point."""
        base = self.manifest.find()
        await self.clear_away()
        disks = await self._find(base.images)
        for name, info in disks.items():
            self._check_bitmap(name, info, base)
        return await self._add(disks, base)

    async def restore(self, target: Path, number: int | None) -> list[Path]:
        """Write what the disks held at a point into new qcow2 images."""
        images = self.manifest.find(number).images
        await self.clear_away()
        job_id = f"{self.prefix}restore"
        for image in images.values():
            async with self.vm.source(f"{self.prefix}s", self.directory / image) as chain:
                size = (await self._find([chain]))[chain]["image"]["virtual-size"]
                await self.vm.create(job_id, target / image, size)
                async with self.vm.target(f"{self.prefix}t", target / image) as node:
                    copy: Json = {"device": chain, "target": node, "sync": "full"}
                    copy |= {"job_id": job_id, "auto_dismiss": False}
                    await self.vm.execute("blockdev-backup", **copy)
                    await self.vm.finish(job_id)
        sync_directory(target)
        return [target / image for image in images.values()]

    async def clear_away(self) -> None:
        """Remove our jobs, nodes and bitmaps, but not the bitmap of the newest point."""
        for job in await self.vm.jobs(self.prefix):
            with suppress(ExecuteError):  # it has just ended by itself
                await self.vm.execute("job-cancel", id=job["id"])
        with suppress(BackupError):  # how they ended matters no more
            await self.vm.finish(self.prefix)
        newest = self._bitmap(self.manifest.find()) if self.manifest.points else None
        for node in await self.vm.execute("query-named-block-nodes", flat=True):
            for bitmap in node.get("dirty-bitmaps", []):
                name = bitmap.get("name", "")
                if name.startswith(self.prefix) and name != newest:
                    where = {"node": node["node-name"], "name": name}
                    await self.vm.execute("block-dirty-bitmap-remove", **where)
            if node["node-name"].startswith(self.prefix):
                await self.vm.execute("blockdev-del", node_name=node["node-name"])

    def _bitmap(self, point: Point) -> str:
        """The name of the bitmap that records what changes after a point."""
        return f"{self.prefix}{point.number}"

    async def _find(self, names: Iterable[str]) -> dict[str, Json]:
        disks = await self.vm.disks()
        for name in names:
            if name not in disks:
                raise BackupError(f"there is no disk {name}; there are {', '.join(disks)}")
        return {name: disks[name] for name in names}

    def _check_bitmap(self, disk: str, info: Json, base: Point) -> None:
        """See that it is known, and for sure, what has changed since `base`."""
        bitmaps = {bitmap.get("name"): bitmap for bitmap in info.get("dirty-bitmaps", [])}
        bitmap = bitmaps.get(self._bitmap(base))
        if bitmap is None:
            problem = "is gone: the machine was restarted, or has crashed"
        elif bitmap.get("inconsistent"):
            problem = "cannot be trusted, since the machine has crashed"
        elif not bitmap["recording"]:
            problem = "has been switched off"
        else:
            return
        record = f"the record of what has changed since point {base.number}"
        raise BackupError(f"{disk}: {record} {problem}; make a full backup")

    async def _add(self, disks: dict[str, Json], base: Point | None) -> Point:
        """Make a point.

        :raises BackupError: there is none, and everything is as before
        """
        number = self.manifest.find().number + 1 if self.manifest.points else 0
        images = {name: f"{name.strip('#').replace('/', '_')}-{number}.qcow2" for name in disks}
        point = Point(number, None if base is None else base.number, images)
        try:
            await self._copy(disks, point, base)
        except (BackupError, ExecuteError):
            with suppress(*LOST):  # or the next run does
                await self.clear_away()
            for image in images.values():
                (self.directory / image).unlink(missing_ok=True)
            raise
        sync_directory(self.directory)  # the images' names
        self.manifest.points.append(point)
        self.manifest.save(self.directory)
        await self.clear_away()
        return point

    async def _copy(self, disks: dict[str, Json], point: Point, base: Point | None) -> None:
        """Copy all disks as they are at one moment."""
        bitmaps: list[Json] = []
        backups: list[Json] = []
        async with AsyncExitStack() as images:
            for number, (name, info) in enumerate(disks.items()):
                path = self.directory / point.images[name]
                since: Json = {"sync": "full"}
                backing = {}
                if base is not None:
                    since = {"sync": "bitmap", "bitmap": self._bitmap(base), "bitmap-mode": "never"}
                    # by its name alone, so that the directory may be moved
                    backing = {"backing-file": base.images[name], "backing-fmt": "qcow2"}
                size = info["image"]["virtual-size"]
                await self.vm.create(f"{self.prefix}create", path, size, **backing)
                target = self.vm.target(f"{self.prefix}t{number}", path)
                copy = {"device": name, "target": await images.enter_async_context(target)}
                job: Json = {"job-id": f"{self.prefix}copy-{number}", "auto-dismiss": False}
                backups.append(
                    {
                        "type": "blockdev-backup",
                        "data": {**job, **copy, **since, "speed": self.speed},
                    }
                )
                bitmap: Json = {"node": name, "name": self._bitmap(point)}
                bitmap["persistent"] = info["drv"] == "qcow2"
                bitmaps.append({"type": "block-dirty-bitmap-add", "data": bitmap})
            # Two transactions, since bitmaps cannot be in a group with jobs.  What is written in
            # between is in this point and in the bitmap for the next: copied twice, never missed.
            await self.vm.execute("transaction", actions=bitmaps)
            grouped = {"completion-mode": "grouped"}
            await self.vm.execute("transaction", actions=backups, properties=grouped)
            await self.vm.finish(f"{self.prefix}copy-")


async def run(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    directory = options.directory.absolute()
    if options.action == "list":
        for point in Manifest.load(directory).points:
            upon = "full" if point.base is None else f"upon {point.base}"
            print(point.number, upon, *point.images.values())
        return
    with locked(directory):
        async with connected(options.socket) as vm:
            backup = Backup(vm, directory, options.speed)
            if options.action == "restore":
                options.target.mkdir(parents=True, exist_ok=True)
                print(*await backup.restore(options.target.absolute(), options.point), sep="\n")
                return
            full = options.action == "full"
            point = await (backup.full(options.disk) if full else backup.incremental())
            print("point", point.number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status."""
    parser = argparse.ArgumentParser(description="Incremental backup of a virtual machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("full", "inc", "list", "restore"):
        action = actions.add_parser(name)
        if name != "list":
            action.add_argument("socket")
            action.add_argument("--speed", type=int, default=0, metavar="BYTES_A_SECOND")
        action.add_argument("directory", type=Path)
        if name == "full":
            action.add_argument("--disk", action="append", default=[])
        if name == "restore":
            action.add_argument("target", type=Path)
            action.add_argument("--point", type=int)
    try:
        asyncio.run(run(parser.parse_args(arguments)))
    except BackupError as error:
        print(f"vmbackup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
