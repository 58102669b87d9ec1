"""What the backup and migration programs here share: jobs, images, a guest, a comparison.

It is written for reading: each function is one thing that a program has to do with a running
daemon (an emulator or a storage daemon), and the requests it takes to do it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, Runstate

Arguments = dict[str, Any]


class JobFailed(Exception):
    """A job has ended with an error."""

    def __init__(self, job_id: str, reason: str) -> None:
        super().__init__(f"job {job_id}: {reason}")
        self.reason = reason


class Daemon:
    """A connected daemon whose jobs can be waited for."""

    def __init__(self, qmp: QMPClient) -> None:
        self._qmp = qmp

    async def execute(self, command: str, arguments: Arguments | None = None) -> Any:
        """Run a command and return its value; `qemu.qmp.ExecuteError` is its error."""
        return await self._qmp.execute(command, arguments)

    async def serves(self, command: str) -> bool:
        """Whether the daemon has this command."""
        return any(info["name"] == command for info in await self.execute("query-commands"))

    async def start(self, command: str, job_id: str, arguments: Arguments) -> None:
        """Start a job that stays to be looked at when it has ended."""
        # blockdev-create's jobs always stay, and have no such argument.
        stay = {} if command == "blockdev-create" else {"auto-dismiss": False}
        await self.execute(command, {"job-id": job_id, **arguments, **stay})

    async def reach(self, job_id: str, *statuses: str) -> Arguments:
        """Wait until a job has one of `statuses` (or has ended); returns what query-jobs says.

        The listener is there before the question: a change after the answer wakes it up.  So does
        the end of the connection, of which no listener is told.
        """
        with self._qmp.listener("JOB_STATUS_CHANGE") as changes:
            while True:
                jobs = await self.execute("query-jobs")
                job = next(Arguments(job) for job in jobs if job["id"] == job_id)
                if job["status"] in (*statuses, "concluded"):
                    return job
                waits = [asyncio.ensure_future(wait) for wait in (changes.get(), self._lost())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()

    async def _lost(self) -> None:
        """Wait for the end of the connection."""
        if self._qmp.runstate == Runstate.RUNNING:
            await self._qmp.runstate_changed()

    async def finish(self, job_id: str) -> None:
        """Wait for a job's end and dismiss it.

        :raises JobFailed: it did not succeed
        """
        job = await self.reach(job_id)
        await self.execute("job-dismiss", {"id": job_id})
        if "error" in job:
            raise JobFailed(job_id, job["error"])

    async def pivot(self, job_id: str) -> None:
        """Complete a mirror or an active commit as soon as it is ready, and wait for its end.

        :raises JobFailed: it did not succeed; everything is as it was
        """
        job = await self.reach(job_id, "ready")
        if job["status"] == "ready":
            await self.execute("job-complete", {"id": job_id})
        await self.finish(job_id)

    async def run(self, command: str, job_id: str, arguments: Arguments) -> None:
        """Start a job and wait for its end.

        :raises JobFailed: it did not succeed
        """
        await self.start(command, job_id, arguments)
        await self.finish(job_id)


@asynccontextmanager
async def connect(socket: str) -> AsyncIterator[Daemon]:
    """The daemon whose QMP monitor listens at `socket`."""
    qmp = QMPClient("examples")
    await qmp.connect(socket)
    try:
        yield Daemon(qmp)
    finally:
        await qmp.disconnect()


async def find_node(daemon: Daemon, disk: str) -> Arguments:
    """What is known of a disk's topmost node; `disk` names its device or the node itself.

    :raises LookupError: there is no such disk
    """
    for device in await daemon.execute("query-block"):
        if device["device"] == disk and "inserted" in device:
            return Arguments(device["inserted"])
    for node in await daemon.execute("query-named-block-nodes", {"flat": True}):
        if node["node-name"] == disk:
            return Arguments(node)
    raise LookupError(disk)


def on_file(driver: str, filename: str, **options: Any) -> Arguments:
    """The options of a node of format `driver` on an image file."""
    return {"driver": driver, "file": {"driver": "file", "filename": filename}, **options}


async def create_image(
    daemon: Daemon, filename: str, size: int, backing: Arguments | None = None
) -> None:
    """Make a qcow2 image of `size` bytes.

    :param backing: backing-file and backing-fmt, to be written into its header
    """
    file = {"driver": "file", "filename": filename}
    await daemon.run("blockdev-create", "create", {"options": {**file, "size": 0}})
    options = {"driver": "qcow2", "file": file, "size": size, **(backing or {})}
    # The first job has made the file (or emptied the one that was there), the second formats it.
    await daemon.run("blockdev-create", "create", {"options": options})


@asynccontextmanager
async def opened(daemon: Daemon, node: str, options: Arguments) -> AsyncIterator[str]:
    """A node that is there as long as it is needed; its name."""
    await daemon.execute("blockdev-add", {**options, "node-name": node})
    try:
        yield node
    finally:
        await daemon.execute("blockdev-del", {"node-name": node})


async def full_copy(daemon: Daemon, node: str, filename: str) -> None:
    """Copy what `node` reads like at this moment into a new qcow2 image."""
    size = (await find_node(daemon, node))["image"]["virtual-size"]
    await create_image(daemon, filename, size)
    async with opened(daemon, "copy", on_file("qcow2", filename)) as target:
        copying = {"device": node, "target": target, "sync": "full"}
        await daemon.run("blockdev-backup", "copy", copying)


async def same_content(daemon: Daemon, one: Arguments, other: Arguments) -> bool:
    """Whether two images, given as options of nodes, read alike.

    A quorum of both has data only where they agree: a job that reads all of it fails at the
    first difference. Nobody may write to them meanwhile.
    """
    votes = {"vote-threshold": 2, "children": [one, other]}
    async with opened(daemon, "both", {"driver": "quorum", **votes, "read-only": True}) as both:
        size = (await find_node(daemon, both))["image"]["virtual-size"]
        async with opened(daemon, "void", {"driver": "null-co", "size": size}) as void:
            reading = {"device": both, "target": void, "sync": "full"}
            try:
                await daemon.run("blockdev-backup", "compare", reading)
            except JobFailed:
                return False
    return True


class Guest:
    """Whoever writes to the disk: in life a virtual machine, here the monitor.

    The human monitor of an emulator has `qemu-io`. A storage daemon has no human monitor: there
    a backup job copies a file with the pattern into a window on the disk.

    :param directory: where the file with the pattern goes
    """

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self._daemon = daemon
        self._pattern = directory / "pattern.raw"

    async def write(self, node: str, offset: int, length: int, pattern: int) -> None:
        """Fill `length` bytes of `node` from `offset` on with the byte `pattern`."""
        if await self._daemon.serves("human-monitor-command"):
            line = f'qemu-io {node} "write -q -P {pattern} {offset} {length}"'
            said = await self._daemon.execute("human-monitor-command", {"command-line": line})
            if said:
                raise RuntimeError(said.strip())
        else:
            self._pattern.write_bytes(bytes([pattern]) * length)
            await self._write_by_job(node, offset, length)

    async def _write_by_job(self, node: str, offset: int, length: int) -> None:
        pattern = {"driver": "file", "filename": str(self._pattern)}
        window = {"driver": "raw", "file": node, "offset": offset, "size": length}
        async with (
            opened(self._daemon, "pattern", pattern) as source,
            opened(self._daemon, "window", window) as target,
        ):
            copying = {"device": source, "target": target, "sync": "full"}
            await self._daemon.run("blockdev-backup", "guest", copying)


def main(
    run: Callable[[Daemon, str, Path], Awaitable[None]],
    socket: str,
    disk: str = "disk0",
    directory: str = ".",
) -> None:
    """Run a program on the daemon at `socket`, with the arguments of its command line."""

    place = Path(directory).absolute()

    async def session() -> None:
        async with connect(socket) as daemon:
            await run(daemon, disk, place)

    asyncio.run(session())
