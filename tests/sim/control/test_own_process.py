"""The control monitor of programs whose machine lives and dies with the process."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from qmpd.errors import GenericError
from qmpd.testing import RemoteMachine
from tests.support.programs import QMPD_STORAGE_DAEMON, QMPD_SYSTEM
from tests.support.stdio import StdioProgram

PROGRAMS = {
    "system": [*QMPD_SYSTEM, "-display", "none", "-machine", "none", "-qmp", "stdio"],
    "storage": [*QMPD_STORAGE_DAEMON, "--chardev", "stdio,id=c", "--monitor", "chardev=c"],
}


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the control monitor is going to be."""
    path = str(tmp_path / "control")
    monkeypatch.setenv("QMPD_CONTROL", f"unix:{path}")
    return path


def image(tmp_path: Path) -> str:
    """Options of a qcow2 node `d`, whose image is made here."""
    filename = str(tmp_path / "d.qcow2")
    subprocess.run(
        [*QMPD_STORAGE_DAEMON, "--chardev", "stdio,id=c", "--monitor", "chardev=c"],
        input="\n".join(
            json.dumps(request)
            for request in (
                {"execute": "qmp_capabilities"},
                create("file", filename=filename, size=0),
                {"execute": "blockdev-add", "arguments": opened(filename)},
                create("qcow2", file="f", size=1 << 20),
                {"execute": "quit"},
            )
        ),
        env={},
        text=True,
        check=True,
        timeout=60,
        stdout=subprocess.PIPE,
    )
    return f"driver=qcow2,node-name=d,file.driver=file,file.filename={filename}"


def create(driver: str, **options: object) -> dict[str, object]:
    """The request that makes an image."""
    arguments = {"job-id": driver, "options": {"driver": driver, **options}}
    return {"execute": "blockdev-create", "arguments": arguments}


def opened(filename: str) -> dict[str, object]:
    """Options of node `f`."""
    return {"driver": "file", "node-name": "f", "filename": filename}


def ask(program: StdioProgram, execute: str, **arguments: object) -> object:
    """What `execute` returns, past events."""
    program.send(json.dumps({"execute": execute, "arguments": arguments}).encode())
    while "return" not in (answer := json.loads(program.line())):
        assert "event" in answer, answer
    return answer["return"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_crash_kills_the_process(name: str, tmp_path: Path, control: str) -> None:
    program = StdioProgram(PROGRAMS[name], tmp_path)
    program.line()
    with RemoteMachine(control) as vm:
        assert vm.cmd("x-sim-crash") == {}
    assert program.process.wait(20) == -9


@pytest.mark.parametrize("command", ["restart", "reset"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_process_begins_anew(name: str, command: str, tmp_path: Path, control: str) -> None:
    option = "-blockdev" if name == "system" else "--blockdev"
    program = StdioProgram([*PROGRAMS[name], option, image(tmp_path)], tmp_path)
    program.line()
    ask(program, "qmp_capabilities")
    ask(program, "block-dirty-bitmap-add", node="d", name="kept", persistent=True)
    ask(program, "block-dirty-bitmap-add", node="d", name="lost")
    with RemoteMachine(control) as vm:
        assert vm.cmd(f"x-sim-{command}") == {}
    lines = [json.loads(program.line())]
    while "QMP" not in lines[-1]:
        lines.append(json.loads(program.line()))
    if name == "system":
        data = {"guest": False, "reason": "host-qmp-quit"}
        assert [(line["event"], line["data"]) for line in lines[:-1]] == [("SHUTDOWN", data)]
    ask(program, "qmp_capabilities")
    nodes = ask(program, "query-named-block-nodes", flat=True)
    assert isinstance(nodes, list)
    bitmaps = [node["dirty-bitmaps"] for node in nodes if node["node-name"] == "d"]
    assert [bitmap["name"] for bitmap in bitmaps[0]] == ["kept"]
    with RemoteMachine(control) as vm:
        assert vm.cmd("x-sim-query-disks") == [{"name": "d", "size": 1 << 20}]
    ask(program, "quit")
    assert program.process.wait(20) == 0


def test_images_in_memory_would_be_lost(
    tmp_path: Path, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QMPD_STORAGE", "memory")
    program = StdioProgram(PROGRAMS["storage"], tmp_path)
    program.line()
    with RemoteMachine(control) as vm:
        with pytest.raises(GenericError, match="Images in memory end with this process"):
            vm.cmd("x-sim-restart")
        vm.cmd("x-sim-reset")
    assert b'"QMP"' in program.line()
    program.process.kill()


def test_a_socket_that_the_process_was_given(tmp_path: Path, control: str) -> None:
    ours, given = socket.socketpair()
    with ours, given:
        options = ["--chardev", f"socket,id=c,fd={given.fileno()}", "--monitor", "chardev=c"]
        argv = [*QMPD_STORAGE_DAEMON, *options]
        with subprocess.Popen(argv, pass_fds=[given.fileno()]) as process:
            assert b'"QMP"' in ours.recv(4096)
            with RemoteMachine(control) as vm:
                with pytest.raises(GenericError, match="it was given a socket as a descriptor"):
                    vm.cmd("x-sim-reset")
                vm.cmd("x-sim-crash")
            assert process.wait(20) == -9


@pytest.mark.parametrize("command", ["checkpoint", "restore", "fork"])
def test_what_is_for_qmpd_serve(command: str, tmp_path: Path, control: str) -> None:
    program = StdioProgram(PROGRAMS["storage"], tmp_path)
    program.line()
    with RemoteMachine(control) as vm:
        if command == "checkpoint":
            with pytest.raises(GenericError, match="Only a machine of 'qmpd serve'"):
                vm.cmd("x-sim-checkpoint")
        else:
            arguments = {"id": "c", **({"qmp": "q"} if command == "fork" else {})}
            with pytest.raises(GenericError, match="there is no checkpoint 'c'"):
                vm.cmd(f"x-sim-{command}", arguments)
    program.process.kill()
