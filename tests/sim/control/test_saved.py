"""A machine in a file: `x-sim-checkpoint-save` and ``qmpd serve --load``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import qmpd
from qmpd.errors import GenericError
from qmpd.testing import RemoteMachine, Server

IMAGE = "a.qcow2,size=1M,format=qcow2,name=image0"


def save(control: RemoteMachine, path: Path) -> None:
    """Write the present machine to a file."""
    made = control.cmd("x-sim-checkpoint")
    control.cmd("x-sim-checkpoint-save", id=made["id"], filename=str(path))


def test_save_and_load(tmp_path: Path) -> None:
    path, saved = str(tmp_path / "control"), tmp_path / "vm"
    options = ["--disk", "disk0=1M", "--image", IMAGE, "--clock", "held", "--seed", "0"]
    with (
        Server("--control", f"unix:{path}", *options) as server,
        RemoteMachine(path) as control,
        RemoteMachine(server.path) as vm,
    ):
        control.cmd("x-sim-disk-write", disk="disk0", offset=0, pattern=1, length=512)
        vm.cmd("block-dirty-bitmap-add", node="image0", name="b0", persistent=True)
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b1")
        control.cmd("x-sim-disk-write", disk="image0", offset=65536, pattern=2, length=512)
        control.cmd("x-sim-clock-advance", seconds=2)
        made = control.cmd("x-sim-checkpoint")
        control.cmd("x-sim-disk-write", disk="disk0", offset=0, pattern=3, length=512)
        control.cmd("x-sim-checkpoint-save", id=made["id"], filename=str(saved))
        # the machine itself goes on, and so does the checkpoint
        read = control.cmd("x-sim-disk-read", disk="disk0", offset=0, length=1)
        assert read["data"] == "Aw=="
        control.cmd("x-sim-restore", id=made["id"])
    assert saved.stat().st_mode & 0o777 == 0o600
    with Server("--control", f"unix:{path}", "--load", str(saved)) as server:
        with RemoteMachine(path) as control, RemoteMachine(server.path) as vm:
            clock = control.cmd("x-sim-query-clock")
            assert (clock["mode"], clock["now"]) == ("held", 2_000_000_000)
            read = control.cmd("x-sim-disk-read", disk="disk0", offset=0, length=1)
            assert read["data"] == "AQ=="
            (kept,) = vm.nodes["image0"]["dirty-bitmaps"]
            assert (kept["name"], kept["persistent"], kept["count"]) == ("b0", True, 65536)
            assert vm.nodes["disk0"]["dirty-bitmaps"][0]["name"] == "b1"
            control.cmd("x-sim-disk-write", disk="disk0", offset=0, pattern=4, length=512)
            control.cmd("x-sim-reset")
        # as it was saved
        with RemoteMachine(path) as control:
            read = control.cmd("x-sim-disk-read", disk="disk0", offset=0, length=1)
            assert read["data"] == "AQ=="
    with qmpd.Machine.load(saved) as machine:
        assert machine.disk("image0").read(65536, 1) == b"\x02"


def test_a_machine_of_a_program(tmp_path: Path) -> None:
    path, saved = str(tmp_path / "control"), tmp_path / "vm"
    with qmpd.Machine(disks={"disk0": "1M"}) as vm:
        vm.disk("disk0").write(0, b"hello")
        with vm.serve(control=path), RemoteMachine(path) as control:
            save(control, saved)
    with qmpd.Machine.load(saved) as loaded:
        assert loaded.disk("disk0").read(0, 5) == b"hello"


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path, saved = str(tmp_path / "control"), tmp_path / "vm"
    saved.write_bytes(b"x" * 100000)
    saved.chmod(0o640)
    with Server("--control", f"unix:{path}") as _, RemoteMachine(path) as control:
        save(control, saved)
    assert saved.stat().st_mode & 0o777 == 0o640
    qmpd.Machine.load(saved).close()


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    options = ["--control", f"unix:{path}", "--disk", "disk0=1M", "--board", "pc"]
    with Server(*options) as server, RemoteMachine(path) as control:
        with pytest.raises(GenericError, match=r"no checkpoint 'c' \(checkpoints: none\)"):
            control.cmd("x-sim-checkpoint-save", id="c", filename="x")
        name = control.cmd("x-sim-checkpoint")["id"]
        absent = str(tmp_path / "absent" / "vm")
        with pytest.raises(GenericError, match=f"'{absent}': No such file or directory"):
            control.cmd("x-sim-checkpoint-save", id=name, filename=absent)
        with RemoteMachine(server.path) as vm:
            vm.cmd("device_add", driver="virtio-blk-pci", drive="disk0")
        with pytest.raises(GenericError, match="Devices that device_add has made"):
            save(control, tmp_path / "vm")
        assert not (tmp_path / "vm").exists()


def complaint(*options: str) -> str:
    """What a daemon says that does not start."""
    program = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve", "--qmp", "stdio", *options]
    ended = subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ended.returncode == 1
    return ended.stderr


def test_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    pid_file = tmp_path / "pid"
    text = complaint("--load", absent, "--pidfile", str(pid_file))
    assert text == f"qmpd: --load {absent}: Could not open '{absent}': No such file or directory\n"
    assert not pid_file.exists()
    other = tmp_path / "other"
    other.write_text("something\n")
    text = complaint("--load", str(other))
    assert text == f"qmpd: --load {other}: '{other}' is no machine that qmpd has saved\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--disk", "d=1M"],
        ["--image", "a.raw"],
        ["--storage", "memory"],
        ["--as", "system"],
        ["--clock", "real"],
        ["--seed", "0"],
        ["--name", "guest"],
        ["--uuid", "00000000-0000-0000-0000-000000000000"],
        ["--board", "none"],
        ["--power"],
        ["--schedule", "0"],
        ["--paused"],
    ],
    ids=lambda options: str(options[0]),
)
def test_options_that_say_what_the_machine_is(tmp_path: Path, options: list[str]) -> None:
    text = complaint("--load", "vm", *options)
    told = "the file says what the machine is; it cannot be given with"
    assert text == f"qmpd: --load vm: {told} {options[0]}\n"
