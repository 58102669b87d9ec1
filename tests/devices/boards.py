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
from tests.support.stdio import StdioProgram

QUIET = 0.1
"""Seconds without an event after which none follows."""

QUERIES = ("qmp_capabilities", "query-block", "query-named-block-nodes", "quit")
_PROGRAM = re.compile(r"^[^:\n]*(?:system|main\.py)[^: \n]*:", re.M)
_CONFLICT = re.compile("Conflicts with use by .* as 'root', which [^\"]*")
_SOME_CONFLICT = "Conflicts with another use"
"""Which of two is told that cannot use a node together is another matter (5.2)."""
_TEMPORARY = re.compile(r"/var/tmp/vl\.\w{6}")


class Boards(Files):
    """Both programs, a board each, its guest held.

    :param machine: pc or q35
    """

    def __init__(self, scratch: Path, machine: str, *options: str, version: str = DEFAULT) -> None:
        argv = ["qemu-system-x86_64", "-S", "-machine", machine, "-display", "none"]
        argv += ["-nodefaults", "-qmp", "stdio", *options]
        self._ends: dict[int, list[Any]] = {}
        self._begin(scratch, argv, version)

    def request(self, request: dict[str, Any]) -> Any:
        (real, _), (ours, answer) = (self._said(each, request) for each in self.programs)
        if ours != real:
            raise AssertionError(f"{request}: {ours} where QEMU says {real}")
        return answer

    @property
    def programs(self) -> tuple[StdioProgram, StdioProgram]:
        return self.real, self.ours

    def _said(self, program: StdioProgram, request: dict[str, Any]) -> tuple[Any, Any]:
        """The messages up to the answer, in normal form, and the answer."""
        messages = program.execute(request)
        # whether the end of a device is told before an answer is left to chance
        ends = [each for each in messages if each.get("event") == "DEVICE_DELETED"]
        self._ends.setdefault(id(program), []).extend(map(normal, ends))
        messages = [each for each in messages if each not in ends]
        return _CONFLICT.sub(_SOME_CONFLICT, repr(normal(messages))), messages[-1]

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
        both = []
        for program in self.programs:
            early = self._ends.pop(id(program), [])
            both.append(early + [normal(program.message()) for _ in range(count - len(early))])
        assert both[1] == both[0]
        return both[0]

    def reset(self) -> list[Any]:
        """system_reset; the events of both, which have to be the same, the reply among them."""
        programs = self.programs
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
