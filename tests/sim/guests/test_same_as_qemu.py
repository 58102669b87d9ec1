"""The same guest on the real QEMU: a boot sector that does one thing."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import qmpd
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import Gone, StdioProgram

pytestmark = pytest.mark.differential

# each ends in a loop of hlt
SHUTDOWN = bytes.fromhex("ba0406b80020effbf4ebfd")  # out 0x2000 to the ACPI control port 0x604
REBOOT = bytes.fromhex("b0fee664fbf4ebfd")  # out 0xfe to the keyboard controller at 0x64
PANIC = bytes.fromhex("ba0505b001eefbf4ebfd")  # out 1 to pvpanic at 0x505

CASES: list[tuple[str, bytes, list[str], dict[str, str]]] = [
    ("shutdown", SHUTDOWN, [], {}),
    ("shutdown", SHUTDOWN, ["-no-shutdown"], {"shutdown": "pause"}),
    ("reboot", REBOOT, ["-no-reboot"], {"reboot": "shutdown"}),
    (
        "reboot",
        REBOOT,
        ["-no-reboot", "-no-shutdown"],
        {"reboot": "shutdown", "shutdown": "pause"},
    ),
    ("panic", PANIC, [], {}),
    ("panic", PANIC, ["-no-shutdown"], {"shutdown": "pause"}),
    ("panic", PANIC, ["-action", "panic=pause"], {"panic": "pause"}),
    ("panic", PANIC, ["-action", "panic=none"], {"panic": "none"}),
]


def real(code: bytes, options: list[str], commands: list[str], folder: Path) -> list[Any]:
    """What the real QEMU tells."""
    (folder / "boot").write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(65536))
    argv = ["qemu-system-x86_64", "-display", "none", "-nodefaults", "-machine", "pc", "-m", "32"]
    argv += ["-S", "-device", "pvpanic", "-qmp", "stdio", "-drive", "file=boot,format=raw"]
    program = StdioProgram([*argv, *options], folder)
    seen: list[Any] = []

    def next_event() -> bool:
        """Take messages up to the next event that is not RESUME; False at the end."""
        try:
            while True:
                message = json.loads(program.line())
                if "event" in message and message["event"] != "RESUME":
                    seen.append((message["event"], message.get("data")))
                    return True
        except Gone:
            seen.append("gone")
            return False

    program.send(b'{"execute": "qmp_capabilities"}{"execute": "cont"}')
    alive = next_event()
    if alive and seen[0][0] == "SHUTDOWN" and "-no-shutdown" not in options:
        next_event()
    elif alive and seen[0][1] != {"action": "run"}:
        alive = next_event()
        if seen[-1][0] == "SHUTDOWN":
            alive = next_event()
    if seen[-1] != "gone":
        for command in commands:
            program.send(b'{"execute": "%s"}' % command.encode())
            while "event" in (message := json.loads(program.line())):
                seen.append((message["event"], message.get("data")))
            seen.append(message.get("return", message.get("error")))
        program.process.kill()
    program.process.wait(20)
    return seen


@pytest.mark.parametrize(("act", "code", "options", "actions"), CASES)
def test_the_same(act: str, code: bytes, options: list[str], actions: Any, tmp_path: Path) -> None:
    if (reason := qemu_missing()) is not None:
        pytest.skip(reason)
    commands = ["query-status", "cont"] if "guest-panicked" in act else ["query-status"]
    with qmpd.Machine(board="pc", clock="held") as vm:
        vm.guest.actions(**actions)
        getattr(vm.guest, act)()
        ours: list[Any] = [(event["event"], event.get("data")) for event in vm.get_qmp_events()]
        if vm.closed:
            ours.append("gone")
        else:
            for command in commands:
                answer = vm.qmp(command)
                ours += [(event["event"], event.get("data")) for event in vm.get_qmp_events()]
                ours.append(answer.get("return", answer.get("error")))
    assert real(code, options, commands, tmp_path) == ours


@pytest.mark.parametrize(
    "options",
    [
        ["-no-reboot"],
        ["-no-reboot", "-no-shutdown"],
        ["-action", "reboot=shutdown,shutdown=pause"],
        ["-no-shutdown"],
        [],
    ],
)
def test_a_reset_from_outside(options: list[str], tmp_path: Path) -> None:
    if (reason := qemu_missing()) is not None:
        pytest.skip(reason)
    argv = ["qemu-system-x86_64", "-display", "none", "-nodefaults", "-machine", "none"]
    argv += ["-qmp", "stdio", *options]
    both: list[list[Any]] = []
    for program in (StdioProgram(argv, tmp_path), StdioProgram(qmpd_argv(argv), tmp_path)):
        program.line()
        seen: list[Any] = []
        for name in ("qmp_capabilities", "system_reset", "query-status", "cont", "quit"):
            with suppress(BrokenPipeError):
                program.send(b'{"execute": "%s"}' % name.encode())
            try:
                while "event" in (message := json.loads(program.line())):
                    seen.append((message["event"], message.get("data")))
                seen.append(message)
            except Gone:
                seen.append("gone")
                break
        program.process.wait(20)
        both.append(seen)
    assert both[1] == both[0]
