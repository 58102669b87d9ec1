"""qmpd with `vm.faults.fail`, and the real QEMU with blkdebug's inject-error at the same place."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import subprocess
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from qmpd import aio
from qmpd.api.core import Core
from qmpd.api.setup import Setup
from qmpd.errors import BlockIOError, MachineClosed
from qmpd.machine.devices.board import Board
from tests.sim.faults import virtio
from tests.support.stdio import StdioProgram

T = TypeVar("T")

IOTYPES: Final = {
    "pread": "read",
    "pwrite": "write",
    "pwrite_zeroes": "write-zeroes",
    "pdiscard": "discard",
    "flush": "flush",
}
"""What blkdebug calls the operations."""

PATIENCE: Final = 20.0
"""Seconds after which something that should have happened is given up."""


@dataclass(frozen=True)
class Fault:
    """A fault of a file's node.

    :param error: name of the errno
    :param sector: the only one where it happens
    :param once: whether it happens once only
    """

    operation: str
    error: str
    sector: int | None = None
    once: bool = True


class Side(Protocol):
    """One of the two programs."""

    folder: Path

    def unused(self) -> set[str]:
        """The operations of faults that have never acted, as far as that is known."""

    def execute(self, command: str, **arguments: Any) -> Any:
        """The answer to a command; names with underscores for dashes."""

    def events(self) -> list[tuple[str, Any]]:
        """The events since the last call."""

    def file(self, name: str, path: str, fault: Fault | None) -> dict[str, Any]:
        """The options of a node on a file, which has the fault."""

    def disk(self, device: str, slot: int) -> Disk:
        """A virtio disk, for its guest."""

    def scsi_disk(self, device: str, target: int) -> Disk:
        """A SCSI disk, for its guest; its adapter is in slot 3."""

    def listen(self) -> None:
        """Be ready to listen at sockets until the end."""

    def program(self, *argv: str) -> str:
        """What a program prints that runs meanwhile."""

    def close(self) -> None:
        """End it."""


class Disk(Protocol):
    """A disk as its guest sees it; one request at a time."""

    def begin(self, operation: str, offset: int, length: int) -> None:
        """Hand in a request."""

    def status(self) -> int | None:
        """0 if it has succeeded, 1 if it has failed, None if it is under way."""


def ended(side: Side, disk: Disk) -> int | None:
    """Wait until a request has ended, or the guest has stopped; the request's status."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = disk.status()
        if status is not None:
            return status
        if not side.execute("query-status")["return"]["running"]:
            return disk.status()
    raise AssertionError("the request does not end")


def with_dashes(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in arguments.items()}


class Real:
    """The real QEMU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program: StdioProgram
        self._program, self._qtest = virtio.start_guest(folder)
        self._bus: virtio.ScsiBus | None = None
        self._events: list[Any] = []

    def execute(self, command: str, **arguments: Any) -> Any:
        *events, answer = self._program.execute(
            {"execute": command, "arguments": with_dashes(arguments)}
        )
        self._events += events
        return answer

    def events(self) -> list[tuple[str, Any]]:
        self.execute("query-version")
        events, self._events = self._events, []
        return [(event["event"], event.get("data")) for event in events]

    def file(self, name: str, path: str, fault: Fault | None) -> dict[str, Any]:
        file = {"driver": "file", "filename": str(self.folder / path), "discard": "unmap"}
        if fault is None:
            return {**file, "node-name": name}
        rule: dict[str, Any] = {"event": "none", "iotype": IOTYPES[fault.operation]}
        rule |= {"errno": getattr(errno, fault.error), "once": fault.once}
        if fault.sector is not None:
            rule["sector"] = fault.sector
        return {
            "driver": "blkdebug",
            "node-name": name,
            "discard": "unmap",
            "inject-error": [rule],
            "image": {**file, "node-name": f"{name}-below"},
        }

    def unused(self) -> set[str]:
        return set()

    def disk(self, device: str, slot: int) -> Disk:
        return virtio.VirtioDisk(self._qtest, slot)

    def scsi_disk(self, device: str, target: int) -> Disk:
        if self._bus is None:
            self._bus = virtio.ScsiBus(self._qtest, 3)
        return virtio.ScsiDisk(self._bus, target)

    def listen(self) -> None:
        """It is."""

    def program(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout + done.stderr

    def close(self) -> None:
        self._qtest.close()
        self._program.process.kill()
        self._program.close()


class Ours:
    """qmpd, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        board = Board("pc", "pc-i440fx-10.0", cpus=1)
        core = Core(Setup(storage="host", more={"board": board}))
        self.vm = aio.Machine.__new__(aio.Machine)
        self.vm._hold(core, is_new=True)
        self.run(self.vm.__aenter__())
        self._stack = contextlib.AsyncExitStack()
        # somebody always waits: the virtual clock jumps whenever there is nothing to do
        self._waiting = self.start(self.vm.event_wait("never", timeout=None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._loop.create_task(work)

    def execute(self, command: str, **arguments: Any) -> Any:
        return self.run(self.vm.qmp(command, with_dashes(arguments)))

    def events(self) -> list[tuple[str, Any]]:
        self.execute("query-version")
        events = self.run(self.vm.get_qmp_events())
        return [(event["event"], event.get("data")) for event in events]

    def file(self, name: str, path: str, fault: Fault | None) -> dict[str, Any]:
        if fault is not None:
            area: dict[str, Any] = (
                {} if fault.sector is None else {"offset": fault.sector * 512, "length": 512}
            )
            count = 1 if fault.once else None
            self.vm.faults.fail(
                fault.operation, node=name, errno=fault.error, count=count, later=True, **area
            )
        return {
            "driver": "file",
            "node-name": name,
            "discard": "unmap",
            "filename": str(self.folder / path),
        }

    def unused(self) -> set[str]:
        """The operations of faults that have never acted."""
        return {fault.describe()["operation"] for fault in self.vm.faults.unused()}

    def disk(self, device: str, slot: int) -> Disk:
        return OurDisk(self, device)

    def scsi_disk(self, device: str, target: int) -> Disk:
        return OurDisk(self, device)

    def listen(self) -> None:
        self.run(self._stack.enter_async_context(self.vm.serve()))

    def program(self, *argv: str) -> str:
        async def run() -> str:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
            out, error = await asyncio.wait_for(process.communicate(), PATIENCE)
            return (out + error).decode()

        return self.run(run())

    def close(self) -> None:
        self.vm.crash()
        self.run(asyncio.wait([self._waiting]))
        assert isinstance(self._waiting.exception(), MachineClosed)
        self.run(self._stack.aclose())
        self._loop.close()


class OurDisk:
    """A disk of qmpd."""

    def __init__(self, side: Ours, device: str) -> None:
        self._side = side
        self._disk = side.vm.disk(device)
        self._task: asyncio.Task[Any] | None = None

    def begin(self, operation: str, offset: int, length: int) -> None:
        work: Coroutine[Any, Any, Any]
        if operation == "pread":
            work = self._disk.read(offset, length)
        elif operation == "pwrite":
            work = self._disk.write(offset, b"x" * length)
        elif operation == "pwrite_zeroes":
            work = self._disk.write_zeroes(offset, length)
        elif operation == "pdiscard":
            work = self._disk.discard(offset, length)
        else:
            work = self._disk.flush()
        self._task = self._side.start(work)

    def status(self) -> int | None:
        assert self._task is not None
        self._side.run(asyncio.sleep(0))
        if not self._task.done():
            return None
        with contextlib.suppress(BlockIOError):
            self._task.result()
            return 0
        return 1


def pretty(observed: Any) -> list[str]:
    """What was observed, as lines that can be compared."""
    return json.dumps(observed, indent=1, sort_keys=True).splitlines()
