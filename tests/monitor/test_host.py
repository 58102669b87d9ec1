"""What a machine asks of its process, and what one without a process of its own says."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qmpd.errors import GenericError, QmpError
from qmpd.qapi.runtime.policy import CompatPolicy
from tests.support.machines import TestMachine
from tests.support.programs import QMPD_STORAGE_DAEMON, QMPD_SYSTEM, qemu_missing
from tests.support.stdio import StdioProgram

NBD = {"addr": {"type": "unix", "data": {"path": "/nowhere/x"}}}
NODE = {"driver": "null-co", "node-name": "n", "size": 1 << 20}
DISK = {"id": "d", "driver": "scsi-hd", "drive": "n"}


def test_a_machine_without_host_listens_to_nobody() -> None:
    test = TestMachine()
    with pytest.raises(GenericError, match="NBD server needs a machine that is served"):
        test.execute("nbd-server-start", **NBD)
    assert test.execute("query-chardev") == []
    with pytest.raises(QmpError, match="NBD server not running"):
        test.execute("nbd-server-stop")


def test_nobody_aborts_a_process_that_the_machine_shares() -> None:
    test = TestMachine(compat=CompatPolicy(unstable_input="crash"))
    with pytest.raises(GenericError, match="does not abort a process"):
        test.execute("x-blockdev-change", parent="x")
    test.execute("blockdev-add", **NODE)
    for line, verb in (("abort", "abort"), (f"sigraise {signal.SIGTERM:d}", "signal")):
        shown = test.hmp(f'qemu-io n "{line}"')
        assert shown == f"qmpd does not {verb} a process that the machine shares with others\r\n"


def test_quit_only_marks_the_end_of_such_a_machine() -> None:
    test = TestMachine()
    test.execute("quit")
    assert test.machine.shutdown_reason == "host-qmp-quit"


def ended(program: StdioProgram, *requests: dict[str, Any]) -> tuple[int, str]:
    """Send requests; the process's status and what it has said on standard error."""
    program.send(b"".join(json.dumps(request).encode() for request in requests))
    status = program.process.wait(20)
    text = program.stderr()
    program.close()
    return status, text


def test_the_policy_to_crash_ends_the_program_without_a_word(tmp_path: Path) -> None:
    argv = [*QMPD_SYSTEM, "-nodefaults", "-display", "none", "-machine", "none"]
    argv += ["-compat", "unstable-input=crash", "-qmp", "stdio"]
    asked = {"execute": "x-blockdev-change", "arguments": {"parent": "x"}}
    program = StdioProgram(argv, tmp_path)
    assert ended(program, {"execute": "qmp_capabilities"}, asked) == (-signal.SIGABRT, "")


def test_sigraise_signals_the_program(tmp_path: Path) -> None:
    argv = [*QMPD_SYSTEM, "-nodefaults", "-display", "none", "-machine", "none"]
    argv += ["-blockdev", "null-co,node-name=n,size=65536", "-qmp", "stdio"]
    line = {"command-line": f'qemu-io n "sigraise {signal.SIGKILL:d}"'}
    asked = {"execute": "human-monitor-command", "arguments": line}
    program = StdioProgram(argv, tmp_path)
    assert ended(program, {"execute": "qmp_capabilities"}, asked) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("argv", [QMPD_STORAGE_DAEMON, QMPD_SYSTEM])
def test_a_closed_standard_error_holds_up_no_answer(argv: list[str], tmp_path: Path) -> None:
    """The warning of a backup of a raw node goes there."""
    add, copy = {"driver": "null-co", "size": 65536}, {"device": "a", "target": "b", "sync": "full"}
    requests: list[dict[str, Any]] = [
        {"execute": "qmp_capabilities"},
        {"execute": "blockdev-add", "arguments": {"node-name": "a", **add}},
        {"execute": "blockdev-add", "arguments": {"node-name": "b", **add}},
        {"execute": "blockdev-backup", "arguments": {"job-id": "j", **copy}},
        {"execute": "quit", "id": "last"},
    ]
    options = (
        ["--chardev", "stdio,id=c", "--monitor", "c"]
        if argv is QMPD_STORAGE_DAEMON
        else ["-nodefaults", "-display", "none", "-machine", "none", "-qmp", "stdio"]
    )
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *argv, *options]
    text = "".join(map(json.dumps, requests))
    done = subprocess.run(
        shell, input=text, capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert sum("return" in answer for answer in answers) == len(requests)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_signals_end_a_program_without_standard_streams(closed: str, tmp_path: Path) -> None:
    argv = [*QMPD_SYSTEM, "-nodefaults", "-display", "none", "-machine", "none"]
    argv += ["-qmp", f"unix:{tmp_path}/q"]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *argv]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/q")
        listener.listen()
        with subprocess.Popen(shell) as process:
            client, _ = listener.accept()
            with client:
                client.sendall(b'{"execute": "qmp_capabilities", "id": "served"}')
                with client.makefile() as lines:
                    assert "QMP" in lines.readline()
                    assert "served" in lines.readline()
                process.terminate()
                assert process.wait(20) == 0


@pytest.mark.parametrize("program", ["qmpd", "QEMU"])
def test_a_monitor_on_a_full_disk_holds_up_nobody(program: str, tmp_path: Path) -> None:
    if program == "QEMU" and (missing := qemu_missing()):
        pytest.skip(missing)
    argv = ["qemu-system-x86_64"] if program == "QEMU" else QMPD_SYSTEM
    options = "-M none -nodefaults -display none -chardev file,id=c,path=/dev/full"
    options += " -mon c,mode=control -qmp stdio"
    running = StdioProgram([*argv, *options.split(" ")], tmp_path)
    running.message()
    running.execute({"execute": "qmp_capabilities"})
    names = [message.get("event", "answer") for message in running.execute({"execute": "stop"})]
    assert names == ["STOP", "answer"]
    assert running.close() == 0
