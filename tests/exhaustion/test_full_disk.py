"""A full disk: the same answers as QEMU's, new files removed again, and nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.normal import normal
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

SIDES = ("real", "ours")
ARGV = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
ARGV += ["-qmp", "stdio"]
MIB = 1 << 20
ROOM = 4 * MIB
"""Bytes of the disk."""


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A small disk for each side."""
    missing = qemu_missing()
    if missing is not None:
        pytest.skip(missing)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small disk")
    made: dict[str, Path] = {}
    try:
        for side in SIDES:
            folder = tmp_path / side
            (folder / "disk").mkdir(parents=True)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder / "disk")]
            if subprocess.run(mount, capture_output=True, check=False).returncode:
                pytest.skip("a small disk may not be mounted")
            made[side] = folder
        yield made
    finally:
        for folder in made.values():
            subprocess.run(["umount", str(folder / "disk")], check=True)


def fill(folder: Path, left: int) -> None:
    """Leave so many bytes on the disk."""
    with (folder / "disk" / "ballast").open("wb") as file:
        file.write(bytes(ROOM - left - used(folder)))


def used(folder: Path) -> int:
    found = os.statvfs(folder / "disk")
    return (found.f_blocks - found.f_bfree) * found.f_frsize


class Side:
    """One of the programs, and what there is to see of it."""

    def __init__(self, folder: Path, *, real: bool) -> None:
        self.folder = folder
        self.program = StdioProgram(ARGV if real else qmpd_argv(ARGV), folder)
        self.program.message()
        self.seen: list[Any] = []
        self._events: list[Any] = []
        self.do("qmp_capabilities")

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; arguments are given with underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        *events, answer = self.program.execute({"execute": command, "arguments": named})
        self._events += events
        self.seen.append(normal(answer, str(self.folder)))
        return answer.get("return")

    def io(self, node: str, line: str) -> None:
        """Read or write by qemu-io, of which only the error is seen."""
        self.do("human-monitor-command", command_line=f'qemu-io {node} "{line}"')

    def until(self, name: str) -> dict[str, Any]:
        """Wait for an event; returns its data.

        A job that stops again meanwhile, for requests that were under way at its first error, is
        resumed.
        """
        while True:
            message = self._events.pop(0) if self._events else self.program.message()
            if message.get("event") == name:
                data: dict[str, Any] = message["data"]
                return data
            if message.get("event") == "BLOCK_JOB_ERROR" and name != "BLOCK_JOB_COMPLETED":
                resume = {"device": message["data"]["device"]}
                self.program.execute({"execute": "block-job-resume", "arguments": resume})

    def see(self, data: dict[str, Any], *names: str) -> None:
        """These members of some data are to be the same."""
        self.seen.append({name: data.get(name) for name in names})

    def add(self, name: str, *, driver: str = "raw") -> None:
        """Add the node of an image on the disk, or beside it."""
        file = {"driver": "file", "filename": name}
        self.do("blockdev-add", driver=driver, node_name=Path(name).stem, file=file)

    def close(self) -> tuple[list[Any], list[str]]:
        """End it; returns all that was seen, and which files there are."""
        assert self.program.close() == 0
        return self.seen, sorted(path.name for path in (self.folder / "disk").iterdir())


def both(disks: dict[str, Path], story: Any) -> list[str]:
    """Tell the same story on both; returns the files that are left, the same on both."""
    shown = []
    for side in SIDES:
        running = Side(disks[side], real=side == "real")
        try:
            story(running)
        except BaseException:
            running.program.process.kill()
            raise
        shown.append(running.close())
    assert shown[1] == shown[0]
    return shown[0][1]


def image(folder: Path, name: str, size: int = 8 * MIB, image_format: str = "qcow2") -> None:
    command = ["qemu-img", "create", "-q", "-f", image_format, name, str(size)]
    subprocess.run(command, cwd=folder, check=True)


def checked(folder: Path, name: str) -> None:
    """There is nothing wrong with an image."""
    subprocess.run(["qemu-img", "check", "-q", name], cwd=folder, check=True)


def source(folder: Path, data: int = 2 * MIB) -> None:
    """An image beside the disk, with so much data."""
    with (folder / "source.raw").open("wb") as file:
        file.write(b"\x11" * data)
        file.truncate(4 * MIB)


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_writes(disks: dict[str, Path], image_format: str) -> None:
    def story(side: Side) -> None:
        image(side.folder, "disk/i.img", image_format=image_format)
        side.add("disk/i.img", driver=image_format)
        side.io("i", "write -P 1 0 512k")
        fill(side.folder, 128 << 10)
        side.io("i", "write -P 2 1M 1M")
        side.io("i", "write -P 3 0 64k")
        side.io("i", "read -P 3 0 64k")
        side.io("i", "read -P 1 64k 448k")
        (side.folder / "disk" / "ballast").unlink()
        side.io("i", "write -P 4 1M 1M")
        side.io("i", "flush")
        side.io("i", "read -P 4 1M 1M")

    assert both(disks, story) == ["i.img"]
    if image_format == "qcow2":
        checked(disks["ours"], "disk/i.img")
    for side in SIDES:
        read = ["qemu-io", "-f", image_format, "disk/i.img"]
        read += ["-c", "read -P 3 0 64k", "-c", "read -P 1 64k 448k", "-c", "read -P 4 1M 1M"]
        done = subprocess.run(read, cwd=disks[side], check=True, capture_output=True, text=True)
        assert "failed" not in done.stdout


@pytest.mark.parametrize("left", [0, 4096, 128 << 10])
def test_new_images(disks: dict[str, Path], left: int) -> None:
    def story(side: Side) -> None:
        source(side.folder)
        side.add("source.raw")
        fill(side.folder, left)
        side.do("blockdev-snapshot-sync", node_name="source", snapshot_file="disk/s.qcow2")
        target = {"device": "source", "job_id": "j", "sync": "full"}
        side.do("drive-mirror", target="disk/m.qcow2", format="qcow2", **target)
        side.do("drive-backup", target="disk/b.qcow2", format="qcow2", **target)
        side.do("query-block-jobs")

    both(disks, story)


def test_created_images(disks: dict[str, Path]) -> None:
    def story(side: Side) -> None:
        fill(side.folder, 0)
        file: dict[str, Any] = {"driver": "file", "filename": "disk/c", "size": MIB}
        for preallocation in ("off", "falloc", "full"):
            options = {**file, "preallocation": preallocation}
            side.do("blockdev-create", job_id="j", options=options)
            while side.until("JOB_STATUS_CHANGE")["status"] != "concluded":
                pass
            side.do("query-jobs")
            side.do("job-dismiss", id="j")

    both(disks, story)


@pytest.mark.parametrize("command", ["blockdev-backup", "blockdev-mirror"])
@pytest.mark.parametrize("on_error", ["report", "stop", "enospc"])
def test_jobs(disks: dict[str, Path], command: str, on_error: str) -> None:
    def story(side: Side) -> None:
        source(side.folder)
        side.add("source.raw")
        image(side.folder, "disk/target.img", 4 * MIB)
        side.add("disk/target.img", driver="qcow2")
        fill(side.folder, MIB)
        job = {"job_id": "j", "device": "source", "target": "target", "sync": "full"}
        side.do(command, on_target_error=on_error, **job)
        side.see(side.until("BLOCK_JOB_ERROR"), "device", "operation", "action")
        if on_error != "report":
            [status] = side.program.execute({"execute": "query-block-jobs"})[-1]["return"]
            side.see(status, "paused", "io-status")
            (side.folder / "disk" / "ballast").unlink()
            side.do("block-job-resume", device="j")
            if command == "blockdev-mirror":
                side.until("BLOCK_JOB_READY")
                side.do("block-job-complete", device="j")
        side.see(side.until("BLOCK_JOB_COMPLETED"), "device", "len", "error")

    both(disks, story)
    checked(disks["ours"], "disk/target.img")
    if on_error != "report":
        compare = ["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", "source.raw"]
        subprocess.run([*compare, "disk/target.img"], cwd=disks["ours"], check=True)
