"""Both programs as a computer with devices, and command lines that make them end or run."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from qmpd.profile.shipped import DEFAULT
from tests.block.files import Files
from tests.support.normal import normal, normal_text
from tests.support.programs import qmpd_argv

QUIET = 0.1
"""Seconds without an event after which none follows."""

QUERIES = ("qmp_capabilities", "query-block", "query-named-block-nodes", "quit")
_PROGRAM = re.compile(r"^[^:\n]*(?:system|main\.py)[^: \n]*:", re.M)
_TEMPORARY = re.compile(r"/var/tmp/vl\.\w{6}")


class Boards(Files):
    """Both programs, a board each, its guest held.

    :param machine: pc or q35
    """

    def __init__(self, scratch: Path, machine: str, *options: str, version: str = DEFAULT) -> None:
        argv = ["qemu-system-x86_64", "-S", "-machine", machine, "-display", "none"]
        argv += ["-nodefaults", "-qmp", "stdio", *options]
        self._begin(scratch, argv, version)

    def request(self, request: dict[str, Any]) -> Any:
        real = normal(self.real.execute(request))
        answer = self.ours.execute(request)
        if normal(answer) != real:
            raise AssertionError(f"{request}: {normal(answer)} where QEMU says {real}")
        return answer[-1]

    def device(self, driver: str, **properties: Any) -> Any:
        """device_add, with underscores for dashes only where a property has no such name."""
        return self.execute("device_add", driver=driver, **properties)

    def get(self, path: str, name: str) -> Any:
        return self.execute("qom-get", path=path, property=name)

    def unplug(self, name: str, events: int = 1) -> list[Any]:
        """device_del, and the events that follow."""
        self.execute("device_del", id=name)
        return self.events(events)

    def events(self, count: int) -> list[Any]:
        """The next messages of both, which have to be the same."""
        real = [normal(self.real.message()) for _ in range(count)]
        assert [normal(self.ours.message()) for _ in range(count)] == real
        return real

    def reset(self) -> list[Any]:
        """system_reset; the events of both, which have to be the same, the reply among them."""
        programs = (self.real, self.ours)
        both: list[list[Any]] = []
        for program in programs:
            messages = program.execute({"execute": "system_reset"})
            # the guest lets go of all it was asked to: what is left is there for good
            with suppress(TimeoutError):
                while True:
                    messages.append(json.loads(program.line(QUIET)))
            both.append([normal(message) for message in messages if "event" in message])
        # one that was slower than `QUIET` has the rest of its events to come
        for events, others, program in zip(both, reversed(both), programs, strict=True):
            while len(events) < len(others):
                events.append(normal(program.message()))
        assert both[1] == both[0], both
        return both[0]


def make_files(folder: Path) -> None:
    sizes = {"a.raw": 1 << 20, "b.raw": 1 << 20, "odd.raw": 1000, "f.raw": 1440 << 10}
    for name, size in {**sizes, "big.raw": 16 << 20}.items():
        with (folder / name).open("wb") as file:
            file.truncate(size)


def outcomes(scratch: Path, options: list[str]) -> list[Any]:
    """What the real program, and qmpd's, come to: status, complaints, replies."""
    argv = ["qemu-system-x86_64", "-S", "-display", "none", "-qmp", "stdio", *options]
    requests = "".join(json.dumps({"execute": name}) + "\n" for name in QUERIES)
    running = []
    for side, words in (("real", argv), ("ours", qmpd_argv(argv))):
        folder = scratch / side
        folder.mkdir()
        make_files(folder)
        pipe = subprocess.PIPE
        running.append(
            subprocess.Popen(words, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        )
    outcomes = []
    for process in running:
        output, complaints = process.communicate(requests, timeout=30)
        replies = [normal(json.loads(line)) for line in output.splitlines()[2:]]
        complaints = _PROGRAM.sub("PROGRAM:", normal_text(complaints))
        outcomes.append(
            (process.returncode, complaints, _TEMPORARY.sub("TEMPORARY", repr(replies)))
        )
    return outcomes
