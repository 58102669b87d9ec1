"""The backup and migration examples do what they promise, on qmpd and on QEMU alike."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import QMPClient

from tests.examples.servers import SERVERS, SIZE, has_files, missing, running

EXAMPLES = Path(__file__).parents[2] / "examples"

Write = tuple[int, int, int]
"""Offset and length in KiB, and the byte written."""

INCREMENTAL: list[Write] = [
    (0, 256, 1),
    (1024, 128, 2),
    (1024, 64, 3),
    (8192, 64, 4),
    (0, 192, 5),
    (9216, 64, 6),
    (0, 64, 7),
]
SNAPSHOT: list[Write] = [
    (0, 256, 1),
    (64, 64, 2),
    (512, 64, 3),
    (1024, 64, 4),
    (0, 64, 5),
]
MIGRATION: list[Write] = [
    (0, 256, 1),
    (40960, 256, 2),
    (40960, 128, 3),
    (51200, 64, 4),
    (64, 64, 5),
    (128, 64, 6),
]


@dataclass
class Daemon:
    """A server under test."""

    name: str
    socket: Path
    directory: Path

    def run(self, example: str) -> list[str]:
        """What an example prints."""
        argv = [*_interpreter(example), str(EXAMPLES / example), str(self.socket), "disk0"]
        argv.append(str(self.directory))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "HOME": str(self.directory)}
        result = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.splitlines()

    def ask(self, *commands: str) -> list[Any]:
        """The values of commands without arguments."""
        return asyncio.run(self._ask(commands))

    async def _ask(self, commands: tuple[str, ...]) -> list[Any]:
        qmp = QMPClient("test")
        await qmp.connect(str(self.socket))
        try:
            return [await qmp.execute(command) for command in commands]
        finally:
            await qmp.disconnect()

    def is_tidy(self) -> bool:
        """Whether there are no jobs, no bitmaps, and no nodes but a disk and its file."""
        jobs, nodes = self.ask("query-jobs", "query-named-block-nodes")
        return not jobs and len(nodes) == 2 and not any("dirty-bitmaps" in node for node in nodes)

    def holds(self, image: str, writes: list[Write]) -> bool:
        """Whether an image is a disk to which `writes` were done; True where it is no file."""
        if not has_files(self.name):
            return True
        model = self.directory / "model.raw"
        with open(model, "wb") as file:
            file.truncate(SIZE)
            for offset, length, pattern in writes:
                file.seek(offset << 10)
                file.write(bytes([pattern]) * (length << 10))
        form = Path(image).suffix.removeprefix(".")
        argv = ["qemu-img", "compare", "-U", "-q", "-f", "raw", "-F", form]
        return subprocess.run([*argv, model, self.directory / image]).returncode == 0

    def are_sound(self, *images: str) -> bool:
        """Whether `qemu-img check` likes images; True where they are no files."""
        argv = ["qemu-img", "check", "-q"]
        return not has_files(self.name) or not any(
            subprocess.run([*argv, self.directory / image]).returncode for image in images
        )


def _interpreter(example: str) -> list[str]:
    return [sys.executable] if example.endswith(".py") else ["bash"]


@pytest.fixture(params=SERVERS)
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    name = request.param
    if (reason := missing(name)) is not None:
        pytest.skip(reason)
    if has_files(name) and shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    with running(name, tmp_path) as path:
        yield Daemon(name, path, tmp_path)


INCREMENTAL_OUTPUT = [
    "full.qcow2",
    "inc1.qcow2: 128 KiB, left: 0",
    "inc2.qcow2: 128 KiB, left: 0",
    "failed: No space left on device",
    "inc3.qcow2: 256 KiB, left: 0",
    "restored.qcow2 is the disk: True",
    "after another write: False",
]


def _incremental_images_are_right(daemon: Daemon) -> None:
    for image, writes in (("full", 1), ("inc1", 2), ("inc2", 4), ("inc3", 6), ("restored", 6)):
        assert daemon.holds(f"{image}.qcow2", INCREMENTAL[:writes]), image
    assert daemon.holds("disk.raw", INCREMENTAL)
    images = ("full", "inc1", "inc2", "inc3", "restored", "now")
    assert daemon.are_sound(*(f"{image}.qcow2" for image in images))


def test_incremental_backup(daemon: Daemon) -> None:
    assert daemon.run("incremental_backup.py") == INCREMENTAL_OUTPUT
    assert daemon.is_tidy()
    _incremental_images_are_right(daemon)


# The human monitor says nothing of itself where there is no CPU, and qmp-shell asks it.
@pytest.mark.parametrize("daemon", ["serve", "qmpd-drive", "qemu-device"], indirect=True)
def test_incremental_backup_in_qmp_shell(daemon: Daemon) -> None:
    assert daemon.run("incremental_backup.sh") == INCREMENTAL_OUTPUT
    assert daemon.is_tidy()
    _incremental_images_are_right(daemon)


@pytest.mark.parametrize("daemon", ["serve", "qmpd-system", "qemu-system"], indirect=True)
def test_a_second_chain_in_the_place_of_the_first(daemon: Daemon) -> None:
    daemon.run("incremental_backup.py")
    second = daemon.run("incremental_backup.py")
    assert second == INCREMENTAL_OUTPUT
    assert daemon.holds("inc3.qcow2", INCREMENTAL + INCREMENTAL[:6])


def test_snapshot_backup(daemon: Daemon) -> None:
    assert daemon.run("snapshot_backup.py") == [
        "the backup is the frozen disk: True",
        "it is the disk no longer: True",
    ]
    assert daemon.is_tidy()
    assert daemon.holds("backup.qcow2", SNAPSHOT[:1])
    assert daemon.holds("disk.raw", SNAPSHOT)
    assert daemon.are_sound("backup.qcow2", "overlay.qcow2", "now.qcow2")


def test_live_migration(daemon: Daemon) -> None:
    assert daemon.run("live_migration.py") == [
        "both are alike: True",
        "the guest writes to the new one: True",
    ]
    assert daemon.is_tidy()
    assert daemon.holds("disk.raw", MIGRATION[:5])
    assert daemon.holds("moved.qcow2", MIGRATION)
    assert daemon.are_sound("copy.qcow2")
    _device_has_moved(daemon)


def _device_has_moved(daemon: Daemon) -> None:
    if daemon.name.endswith("storage-daemon"):
        return
    (devices,) = daemon.ask("query-block")
    assert [device["inserted"]["node-name"] for device in devices] == ["moved"] * len(devices)
