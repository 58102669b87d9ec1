"""Both programs of one version, each with images of its own that are made and worked at alike."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections import deque
from pathlib import Path
from typing import Any, Final

from tests.support.normal import normal
from tests.support.stdio import StdioProgram
from tests.support.versions import both_argv, real_argv

OPTIONS: Final = ["-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]

SECTOR: Final = 512

_SNAPSHOT: Final = struct.Struct(">QIHHIIQII")
_DATE: Final = slice(16, 24)
_NAMED: Final = re.compile(rb"\d(?:first|second|third)")
"""Ids and names of the snapshots that are taken, behind the rest of their entries."""


class Sides:
    """QEMU of a version and qmpd as the same, past negotiation, in directories of their own.

    :param scratch: where the two directories are
    """

    def __init__(self, version: str, scratch: Path) -> None:
        self.version = version
        argv = ["qemu-system-x86_64", *OPTIONS]
        self.folders = (scratch / "real", scratch / "ours")
        self._programs: list[_Asked] = []
        for folder, words in zip(self.folders, both_argv(version, argv), strict=True):
            folder.mkdir()
            self._programs.append(_Asked(words, folder))

    def execute(self, command: str, **arguments: Any) -> Any:
        """Give both the same request; fails unless both answer the same. Returns the answer.

        Arguments are given with underscores for dashes.
        """
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        request = {"execute": command, "arguments": given}
        real, ours = (normal(program.answer(request)) for program in self._programs)
        assert ours == real, request
        return dict(ours)

    def io(self, node: str, command: str) -> None:
        """A command of qemu-io, in the human monitor."""
        self.execute("human-monitor-command", command_line=f'qemu-io {node} "{command}"')

    def job(self, command: str, **arguments: Any) -> None:
        """Run a job to its end, where it has begun; it is called ``job``."""
        for program in self._programs:
            program.forget()
        if "error" in self.execute(command, job_id="job", **arguments):
            return
        ends = [program.until("ready", "concluded", "null") for program in self._programs]
        assert ends[1] == ends[0]
        if ends[0] == "ready":
            self.execute("block-job-complete", device="job")
            ends = [program.until("null") for program in self._programs]
        if ends[0] == "concluded":
            assert "return" in self.execute("query-jobs")
            self.execute("job-dismiss", id="job")

    def clear(self) -> None:
        """Take away what a test has left: jobs, nodes and images."""
        for program in self._programs:
            program.clear()
        for folder in self.folders:
            for path in folder.glob("disk*"):
                path.unlink()

    def img(self, *words: str) -> str:
        """Run the version's qemu-img in both directories; fails unless it prints the same."""
        program = real_argv(self.version, ["qemu-img", *words])
        done = [
            subprocess.run(program, cwd=folder, capture_output=True, text=True)
            for folder in self.folders
        ]
        real, ours = (_printed(run.stdout) or run.stdout for run in done)
        assert ours == real, words
        real, ours = ((normal(run.stderr), run.returncode) for run in done)
        assert ours == real, words
        return done[0].stdout

    def compare(self, *names: str) -> None:
        """Fail unless the files of both have the same bytes.

        Where qmpd has changed the tables of snapshots, which it does at once, the file ends
        with a whole sector.
        """
        for name in names:
            real, ours = (_undated((folder / name).read_bytes()) for folder in self.folders)
            ends = range(0, max(len(real), len(ours)), SECTOR)
            differ = [at for at in ends if real[at : at + SECTOR] != ours[at : at + SECTOR]]
            assert (name, len(ours), differ) == (name, len(real), [])

    def close(self) -> None:
        """End both."""
        for program in self._programs:
            program.close()


class _Asked(StdioProgram):
    """A program, past negotiation, whose events can be waited for."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        super().__init__(argv, folder)
        self._events: deque[Any] = deque()
        self.message()
        self.answer({"execute": "qmp_capabilities"})

    def answer(self, request: Any) -> Any:
        """The answer to a request; the events before it are kept."""
        *events, answer = self.execute(request)
        self._events += events
        return answer

    def forget(self) -> None:
        """Do not keep the events so far."""
        self._events.clear()

    def until(self, *states: str) -> str:
        """Wait until the job is in one of `states`, and return which."""
        while True:
            event = self._events.popleft() if self._events else self.message()
            if event["event"] == "JOB_STATUS_CHANGE" and event["data"]["status"] in states:
                return str(event["data"]["status"])

    def clear(self) -> None:
        """Take away all jobs and all nodes."""
        for job in self.answer({"execute": "query-jobs"})["return"]:
            named = {"id": job["id"]}
            if job["status"] != "concluded":
                self.answer({"execute": "job-cancel", "arguments": named})
                self.until("concluded" if job["type"] == "create" else "null")
            self.answer({"execute": "job-dismiss", "arguments": named})
        while nodes := self.answer({"execute": "query-named-block-nodes"})["return"]:
            for node in nodes:
                named = {"node-name": node["node-name"]}
                self.answer({"execute": "blockdev-del", "arguments": named})
        self.forget()


def _printed(text: str) -> Any:
    """What JSON says, but for what is different each time; None: it is none."""
    try:
        return normal(json.loads(text))
    except ValueError:
        return None


def _undated(image: bytes) -> bytes:
    """The bytes of an image, without the time of day in tables of snapshots, old ones included."""
    made = bytearray(image.ljust(-(-len(image) // SECTOR) * SECTOR, b"\0"))
    for found in _NAMED.finditer(image):
        for extra in (16, 24):
            start = found.start() - _SNAPSHOT.size - extra
            if start > 0 and _SNAPSHOT.unpack_from(image, start)[-1] == extra:
                made[start + _DATE.start : start + _DATE.stop] = bytes(_DATE.stop - _DATE.start)
    return bytes(made)
