"""E2: test 093: a step of the clock goes from deadline to deadline, and looks anew at each.

Debian's QEMU has no accelerator qtest to compare with: the counts are those that its test asks for.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.differential.pair import OPTIONS
from tests.support.programs import qmpd_argv
from tests.support.stdio import StdioProgram

SECOND = 1_000_000_000
RATE = 4096


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize(("seconds", "requests"), [(5, 50), (60, 600)])
def test_as_many_requests_as_the_time_allows(
    tmp_path: Path, kind: str, seconds: int, requests: int
) -> None:
    program = StdioProgram(
        qmpd_argv(
            [
                *("qemu-system-x86_64", *OPTIONS[:-2], "-accel", "qtest", "-qmp", "stdio"),
                *("-qtest", "unix:q,server=on,wait=off", "-qtest-log", "none"),
                *("-drive", "if=none,id=d,driver=null-co"),
            ]
        ),
        tmp_path,
    )
    program.message()

    def execute(command: str, **arguments: Any) -> Any:
        return program.execute({"execute": command, "arguments": arguments})[-1]["return"]

    execute("qmp_capabilities")
    limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    execute("block_set_io_throttle", device="d", **{**limits, "bps": RATE})
    with socket.socket(socket.AF_UNIX) as harness:
        harness.connect(str(tmp_path / "q"))
        answers = harness.makefile("r")

        def step(nanoseconds: int) -> None:
            harness.sendall(b"clock_step %d\n" % nanoseconds)
            assert answers.readline().startswith("OK ")

        for _ in range(requests):
            line = f'qemu-io d "aio_{kind} 0 512"'
            execute("human-monitor-command", **{"command-line": line})
        step(seconds * SECOND)
        (stats,) = execute("query-blockstats")
        done = stats["stats"]["rd_bytes" if kind == "read" else "wr_bytes"]
        allowed = min(seconds * RATE, requests * 512)
        assert allowed <= done <= allowed + RATE // 10 + 512
        execute("block_set_io_throttle", device="d", **limits)
    program.close()
