"""What follows the clock that a harness steps (``-accel qtest``), and how it is stepped.

E2: test 093: a step of the clock goes from deadline to deadline, and looks anew at each.

Debian's QEMU has no accelerator qtest to compare with: the counts are those that its test asks for.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.differential.pair import OPTIONS
from tests.support.programs import qmpd_argv
from tests.support.stdio import StdioProgram

SECOND = 1_000_000_000
RATE = 4096


def _program(folder: Path, *options: str) -> StdioProgram:
    program = StdioProgram(
        qmpd_argv(
            [
                *("qemu-system-x86_64", *OPTIONS[:-2], "-accel", "qtest", "-qmp", "stdio"),
                *("-qtest", "unix:q,server=on,wait=off", "-qtest-log", "none", *options),
            ]
        ),
        folder,
    )
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    return program


def _execute(program: StdioProgram, command: str, **arguments: Any) -> Any:
    return program.execute({"execute": command, "arguments": arguments})[-1]["return"]


def _request(line: str) -> dict[str, Any]:
    return {"execute": "human-monitor-command", "arguments": {"command-line": line}}


def _qemu_io(program: StdioProgram, device: str, line: str) -> str:
    answer = program.execute(_request(f'qemu-io {device} "{line}"'))[-1]["return"]
    assert isinstance(answer, str)
    return answer


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize(("seconds", "requests"), [(5, 50), (60, 600)])
def test_as_many_requests_as_the_time_allows(
    tmp_path: Path, kind: str, seconds: int, requests: int
) -> None:
    program = _program(tmp_path, "-drive", "if=none,id=d,driver=null-co")
    limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    _execute(program, "block_set_io_throttle", device="d", **{**limits, "bps": RATE})
    with socket.socket(socket.AF_UNIX) as harness:
        harness.connect(str(tmp_path / "q"))
        answers = harness.makefile("r")

        def step(nanoseconds: int) -> None:
            harness.sendall(b"clock_step %d\n" % nanoseconds)
            assert answers.readline().startswith("OK ")

        for _ in range(requests):
            _qemu_io(program, "d", f"aio_{kind} 0 512")
        step(seconds * SECOND)
        (stats,) = _execute(program, "query-blockstats")
        done = stats["stats"]["rd_bytes" if kind == "read" else "wr_bytes"]
        allowed = min(seconds * RATE, requests * 512)
        assert allowed <= done <= allowed + RATE // 10 + 512
        _execute(program, "block_set_io_throttle", device="d", **limits)
    program.close()


@pytest.mark.parametrize("made_by", ["-object", "-drive", "object-add", "block_set_io_throttle"])
def test_limits_made_before_the_accelerator_hold_in_real_time(tmp_path: Path, made_by: str) -> None:
    """S: stream-error-on-reset and mirror-change-copy-mode."""
    drive, options = "if=none,id=d,driver=null-co", []
    if made_by == "-object":
        options = ["-object", "throttle-group,id=g,x-bps-read=65536"]
    elif made_by == "-drive":
        drive += ",bps_rd=65536"
    program = _program(tmp_path, "-drive", drive, *options)
    device = "d"
    if made_by == "block_set_io_throttle":
        limits = dict.fromkeys(("bps", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        _execute(program, made_by, device="d", bps_rd=65536, **limits)
    elif made_by == "object-add":
        limits = {"x-bps-read": 65536}
        _execute(program, made_by, **{"qom-type": "throttle-group", "id": "g", **limits})
    if "object" in made_by:
        device = "t"
        throttle = {"driver": "throttle", "throttle-group": "g", "file": {"driver": "null-co"}}
        _execute(program, "blockdev-add", **throttle, **{"node-name": "t"})
    # the first is let go whatever it costs
    assert _qemu_io(program, device, "read 0 16k") == ""
    if made_by.startswith("-"):
        assert _qemu_io(program, device, "read 0 16k") == ""
    else:
        # nobody steps the clock that the second waits for
        program.send(json.dumps(_request(f'qemu-io {device} "read 0 16k"')).encode())
        with pytest.raises(TimeoutError):
            program.message(1)
        program.process.kill()
    program.close()
