"""A program with disks to back up: its guests write, its jobs are watched."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from qmpd.profile.shipped import DEFAULT
from qmpd.sim.record.flips import Flips
from tests.interop.bench import ImageBench
from tests.support.event_text import event_text
from tests.support.known import known
from tests.support.normal import normal_text
from tests.support.stdio import StdioProgram
from tests.support.versions import DAEMON, SYSTEM, WITH_MONITOR, both_argv

CLUSTER = 65536
CLUSTERS = 16
SIZE = CLUSTERS * CLUSTER

Arguments = Mapping[str, Any]


class DiskProgram:
    """A system emulator with disks ``d0``, ``d1`` ... of 16 clusters, on nodes ``s0``, ``s1`` ...

    The storage daemon has only the nodes, and ``d0`` in arguments means one of them.

    :param folder: an empty one, where its images are made
    :param real: whether it is QEMU's
    :param disks: how many; the first is qcow2, the others are raw
    :param unreadable: a cluster of the third disk that cannot be read
    :param unmaps: whether guests may unmap: zeroes that are written so leave holes in raw files
    :param version: of QEMU; what it does not know is left out of requests
    :param daemon: whether it is the storage daemon
    """

    def __init__(
        self,
        folder: Path,
        *,
        real: bool,
        disks: int = 2,
        unreadable: int | None = None,
        unmaps: bool = False,
        version: str = DEFAULT,
        daemon: bool = False,
    ) -> None:
        folder.mkdir()
        self._unreadable = unreadable
        self._unmaps = unmaps
        self.version = version
        self.daemon = daemon
        self.folder = folder
        self.events: list[str] = []
        """What was said since the last `told`; see `tells_pairs`."""
        self._flips = Flips()
        self.tells_pairs = False
        """Whether the changes to and fro that come with drained sections are noted, too."""
        program = DAEMON if daemon else SYSTEM
        argv = [program, *WITH_MONITOR[program]]
        for number in range(disks):
            argv += ["--blockdev" if daemon else "-drive", self._drive(number)]
        self.program = StdioProgram(both_argv(version, argv)[0 if real else 1], folder)
        self.program.message()
        self.do("qmp_capabilities")

    def _drive(self, number: int) -> str:
        path = self.folder / f"s{number}.img"
        if number == 0:
            bench = ImageBench()
            bench.create(path, SIZE, {})
            bench.close()
        else:
            path.write_bytes(bytes([number]) * SIZE)
        driver = "raw" if number else "qcow2"
        drive = "" if self.daemon else f"if=none,id=d{number},"
        drive += f"node-name=s{number},driver={driver},"
        if self._unmaps:
            drive += "discard=unmap,"
        if number != 2 or self._unreadable is None:
            return f"{drive}file.driver=file,file.filename={path}"
        error = f"file.inject-error.0.sector={self._unreadable * CLUSTER // 512}"
        return (
            f"{drive}file.driver=blkdebug,file.image.driver=file,file.image.filename={path},"
            f"file.inject-error.0.event=none,file.inject-error.0.iotype=read,{error}"
        )

    # Talking

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; its value, or its error as ``{"error": text}``."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        named = known(self.version, command, named)
        if self.daemon:
            named = json.loads(re.sub('"d([0-9])"', r'"s\1"', json.dumps(named)))
        *before, answer = self.program.execute({"execute": command, "arguments": named})
        for message in before:
            self._note(message)
        if "error" in answer:
            return {"error": normal_text(answer["error"]["desc"], str(self.folder))}
        return answer["return"]

    def guest(self, line: str, disk: str = "d0") -> None:
        """Have the guest do what a qemu-io command says."""
        printed = self.do("human-monitor-command", command_line=f'qemu-io {disk} "{line}"')
        assert "error" not in printed, printed

    def until(self, *said: str) -> None:
        """Wait until each of `said` is among the events."""
        while not all(one in self.events for one in said):
            self._note(self.program.message())

    def until_copied(self, job: str, length: int) -> None:
        """Wait until a job has copied `length` bytes."""
        while next(j for j in self.do("query-jobs") if j["id"] == job)["current-progress"] < length:
            pass

    def told(self) -> list[str]:
        """The events since the last call."""
        events, self.events = self.events, []
        return events

    def _note(self, event: Any) -> None:
        if self.tells_pairs or not self._flips.is_flip(event):
            self.events.append(event_text(event))

    # Nodes

    def add_target(self, name: str, failing: int | None = None, *, once: bool = False) -> None:
        """Add node `name` over a file of zeroes.

        :param failing: index of a cluster that cannot be written
        :param once: but only the first time
        """
        path = self.folder / f"{name}.target"
        path.write_bytes(b"")
        path.open("r+b").truncate(SIZE)
        file: dict[str, Any] = {"driver": "file", "filename": str(path)}
        if failing is not None:
            sector = failing * CLUSTER // 512
            error = {"event": "none", "iotype": "write", "sector": sector, "once": once}
            file = {"driver": "blkdebug", "image": file, "inject-error": [error]}
        added = self.do("blockdev-add", driver="raw", file=file, node_name=name)
        assert added == {}, added

    def bitmap(self, name: str) -> dict[str, Any]:
        """What queries show of a bitmap of ``d0``, and its sha256."""
        [disk] = [d for d in self.do("query-block") if d["device"] == "d0"]
        [shown] = [b for b in disk["inserted"]["dirty-bitmaps"] if b["name"] == name]
        sha = self.do("x-debug-block-dirty-bitmap-sha256", node="s0", name=name)
        return {**shown, **sha}

    def close(self) -> None:
        """End the program."""
        self.program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
