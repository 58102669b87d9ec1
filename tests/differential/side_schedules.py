"""The disks of `side_rig` in a machine of this process, under one schedule."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import qmpd
from tests.differential.side_rig import DISKS, SIZE, Step, image, placed, shown

STEP = 0.05
"""Seconds of the machine's clock in which nothing is said when it is held to be at rest."""


class ScheduledRig:
    """A machine whose disks are those of `Rig`.

    :param folder: where its images are made
    :param seed: of its schedule; None for the order that there always is without one
    """

    def __init__(self, folder: Path, seed: int | None) -> None:
        folder.mkdir()
        self.folder = folder
        self._vm = qmpd.Machine(
            storage="host", board="pc", paused=True, clock="held", schedule=seed
        )
        for disk in range(DISKS):
            self._add_disk(disk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._vm.crash()

    def _add_disk(self, disk: int) -> None:
        backing = None
        for name in (f"base{disk}", f"mid{disk}", f"top{disk}"):
            path = self.folder / f"{name}.qcow2"
            path.write_bytes(image())
            file = {"driver": "file", "filename": str(path)}
            node = {"driver": "qcow2", "node-name": name, "backing": backing, "file": file}
            self._vm.cmd("blockdev-add", node)
            if backing is not None:
                line = f'qemu-io {name} "write -q -P {disk + 1} 0 {SIZE // 2}"'
                self._vm.cmd("human-monitor-command", {"command-line": line})
            backing = name
        path = self.folder / f"t{disk}.raw"
        path.write_bytes(bytes(SIZE))
        file = {"driver": "file", "filename": str(path)}
        self._vm.cmd("blockdev-add", {"driver": "raw", "node-name": f"t{disk}", "file": file})

    def do(self, command: str, arguments: dict[str, Any]) -> list[Any]:
        """Run a command; what came until the machine was at rest, the answer included."""
        vm, folder = self._vm, str(self.folder)
        mark = vm.journal.mark()
        vm.qmp(command, placed(arguments, folder))
        since = vm.journal.since(mark)
        answers = list(since.filter("answer"))[:1]
        seen: object = None
        while True:
            before = seen
            vm.clock.advance(STEP)
            jobs = vm.cmd("query-block-jobs")
            seen = len(since.filter("event")), [job["offset"] for job in jobs]
            if seen == before:
                break
        said = [*answers, *since.filter("event")]
        return [
            shown(one.answer or {"event": one.event, "data": one.data}, folder)
            for one in sorted(said, key=lambda one: one.number)
        ]


def scheduled(folder: Path, program: list[Step], seed: int | None) -> list[list[Any]]:
    """What the machine says to each step under a schedule."""
    with ScheduledRig(folder, seed) as rig:
        return [rig.do(*step) for step in program]
