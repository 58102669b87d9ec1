"""A virtual machine as the backup sees it: commands, jobs, disks and images, over QMP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from manifest import BackupError
from qemu.qmp import ExecuteError, QMPClient, QMPError, Runstate

Json = dict[str, Any]
LOST = (QMPError, EOFError, OSError)
"""How qemu.qmp tells that there is no connection, or no longer."""


class Machine:
    """A connected machine."""

    def __init__(self, qmp: QMPClient) -> None:
        self._qmp = qmp

    async def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command; its arguments have underscores for dashes."""
        dashed = {name.replace("_", "-"): value for name, value in arguments.items()}
        return await self._qmp.execute(command, dashed)

    # Jobs

    async def jobs(self, prefix: str) -> list[Json]:
        """The jobs whose ids begin with `prefix`."""
        return [job for job in await self.execute("query-jobs") if job["id"].startswith(prefix)]

    async def finish(self, prefix: str) -> None:
        """Wait for the end of the jobs whose ids begin with `prefix`, and dismiss them.

        The listener is there before the question, so that no change is missed.

        :raises BackupError: one of them failed
        """
        with self._qmp.listener("JOB_STATUS_CHANGE") as changes:
            while True:
                jobs = await self.jobs(prefix)
                if all(job["status"] == "concluded" for job in jobs):
                    break
                waits = [asyncio.ensure_future(wait) for wait in (changes.get(), self._lost())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        for job in jobs:
            await self.execute("job-dismiss", id=job["id"])
        errors = [job["error"] for job in jobs if "error" in job]
        # The others of a group are cancelled when one of them fails; that is not the news.
        for error in sorted(errors, key=lambda error: "cancel" in error):
            raise BackupError(f"the copy failed: {error}")

    async def _lost(self) -> None:
        """Wait for the end of the connection: a listener to events is never told of it."""
        if self._qmp.runstate == Runstate.RUNNING:
            await self._qmp.runstate_changed()

    # Disks and images

    async def devices(self) -> dict[str, Json]:
        """What is known of each medium in a device, by the device or else the medium's node."""
        devices = {}
        for device in await self.execute("query-block"):
            if medium := device.get("inserted"):
                devices[device["device"] or medium["node-name"]] = medium
        return devices

    async def disks(self) -> dict[str, Json]:
        """The same, and all nodes."""
        nodes = await self.execute("query-named-block-nodes", flat=True)
        return {**await self.devices(), **{node["node-name"]: node for node in nodes}}

    async def create(self, job_id: str, path: Path, size: int, **backing: str) -> None:
        """Make an empty qcow2 image, in the place of any other."""
        file = {"driver": "file", "filename": str(path)}
        image = {"driver": "qcow2", "file": file, "size": size, **backing}
        for options in ({**file, "size": 0}, image):
            await self.execute("blockdev-create", job_id=job_id, options=options)
            await self.finish(job_id)

    @asynccontextmanager
    async def source(self, node: str, path: Path) -> AsyncIterator[str]:
        """An image and those below it as a node, to be read."""
        file = {"driver": "file", "filename": str(path)}
        image = {"driver": "qcow2", "node_name": node, "read_only": True, "file": file}
        await self.execute("blockdev-add", **image)
        try:
            yield node
        finally:
            await self.execute("blockdev-del", node_name=node)

    @asynccontextmanager
    async def target(self, node: str, path: Path) -> AsyncIterator[str]:
        """An image as a node, to be filled.  When it is closed, all of it is on the disk.

        It is without those below it: a backup writes whole clusters.

        :raises ExecuteError: at the end too, if it could not be flushed
        """
        file = {"driver": "file", "filename": str(path)}
        image: Json = {"driver": "qcow2", "node-name": node, "file": file, "backing": None}
        await self.execute("blockdev-add", **image)
        try:
            yield node
            # Neither a backup's end nor blockdev-del tells that a flush has failed; this does.
            await self.execute("blockdev-reopen", options=[{**image, "read-only": True}])
        finally:
            await self.execute("blockdev-del", node_name=node)


@asynccontextmanager
async def connected(socket: str) -> AsyncIterator[Machine]:
    """The machine whose QMP monitor listens at a path.

    :raises BackupError: for every error of the machine or of the connection
    """
    qmp = QMPClient("vmbackup")
    try:
        try:
            await qmp.connect(socket)
        except AssertionError:  # what qemu.qmp 0.0.6 says of one that ends as soon as it began
            raise EOFError("it was closed at once") from None
        yield Machine(qmp)
    except ExecuteError as error:
        raise BackupError(f"the machine says: {error}") from error
    except LOST as error:
        raise BackupError(f"no connection to {socket}: {error}") from error
    finally:
        with suppress(*LOST):  # what ended the connection is told again
            await qmp.disconnect()
