"""qmpd and the real QEMU, side by side, given the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from qmpd.profile.shipped import DEFAULT
from tests.support.normal import normal
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import SYSTEM, WITH_MONITOR, both_argv

OPTIONS = WITH_MONITOR[SYSTEM]


class Pair:
    """Both programs, started with the same options and past negotiation.

    The test is skipped where that version of QEMU is not installed.

    :param scratch: a folder for both, where each has one of its own
    :param options: further options of the command line
    :param version: the version of QEMU that both are
    :param program: which of its programs
    """

    def __init__(
        self, scratch: Path, *options: str, version: str = DEFAULT, program: str = SYSTEM
    ) -> None:
        self.program = program
        self._begin(scratch, [program, *WITH_MONITOR[program], *options], version)

    def _begin(self, scratch: Path, argv: list[str], version: str) -> None:
        self.scratch = scratch
        self.version = version
        real, ours = both_argv(version, argv)
        self.real = self._start(real, "real")
        self.ours = self._start(ours, "ours")

    def _start(self, argv: list[str], name: str) -> StdioProgram:
        folder = self.scratch / name
        folder.mkdir(exist_ok=True)
        program = StdioProgram(argv, folder)
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        return program

    def execute(self, command: str, **arguments: Any) -> Any:
        """Give both the same request; fails unless both answer the same. Returns the answer."""
        return self.request({"execute": command, "arguments": arguments})

    def request(self, request: dict[str, Any]) -> Any:
        """As `execute`, with the whole request."""
        expected = self.real.execute(request)
        got = self.ours.execute(request)
        assert normal(got, str(self.scratch / "ours")) == normal(
            expected, str(self.scratch / "real")
        ), request
        return got[-1]

    def raw(self, data: bytes, marker: int) -> None:
        """Give both the same bytes and resynchronise; fails unless all lines are the same."""
        tail = b"\xff" + json.dumps({"execute": "query-status", "id": marker}).encode() + b"\n"
        answers = []
        for program in (self.real, self.ours):
            program.send(data + tail)
            lines: list[bytes] = []
            while not lines or not lines[-1].endswith(f'"id": {marker}}}\r\n'.encode()):
                lines.append(program.line())
            answers.append(lines)
        assert answers[1] == answers[0], data

    def close(self) -> None:
        """End both."""
        for program in (self.ours, self.real):
            try:
                program.close()
            except Gone:
                time.sleep(0)
