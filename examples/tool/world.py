"""What the tests of the tool share: a machine with a guest, and a model of what its disks hold."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Protocol

import vmbackup
from manifest import Manifest

import qmpd
from qmpd.testing import RemoteMachine

KIB, MIB = 1 << 10, 1 << 20
SIZE = 4 * MIB
DISKS = ("disk0", "disk1")
IMAGES = {disk: f"{disk}.qcow2,format=qcow2,size={SIZE}" for disk in DISKS}
"""The machine's disks, as the marker of qmpd's plugin takes them."""


class Guest(Protocol):
    """Who writes to a machine's disks, and looks into images for the test."""

    def write(self, disk: str, offset: int, data: bytes) -> None:
        """Write to a disk."""

    def read(self, image: Path) -> bytes:
        """All that a qcow2 image holds."""


class QmpdGuest:
    """The guest of a machine of qmpd, in this process."""

    def __init__(self, vm: qmpd.Machine) -> None:
        self.vm = vm

    def write(self, disk: str, offset: int, data: bytes) -> None:
        """Write to a disk."""
        self.vm.disk(disk).write(offset, data)

    def read(self, image: Path) -> bytes:
        """All that a qcow2 image holds."""
        file = {"driver": "file", "filename": str(image)}
        self.vm.cmd("blockdev-add", driver="qcow2", node_name="look", read_only=True, file=file)
        disk = self.vm.disk("look")
        content = disk.read(0, disk.size)
        self.vm.cmd("blockdev-del", node_name="look")
        return content


class QemuGuest:
    """The same on a real QEMU: its human monitor writes, qemu-img reads."""

    def __init__(self, vm: RemoteMachine) -> None:
        self.vm = vm

    def write(self, disk: str, offset: int, data: bytes) -> None:
        """Write to a disk: one byte, again and again."""
        assert data == data[:1] * len(data)
        assert self.vm.hmp(f'qemu-io {disk} "write -q -P {data[0]} {offset} {len(data)}"') == ""

    def read(self, image: Path) -> bytes:
        """All that a qcow2 image holds."""
        raw = image.with_suffix(".raw")
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
        return raw.read_bytes()


class World:
    """A machine behind a socket, a directory for its backups, and what they should hold."""

    def __init__(self, path: str, guest: Guest, directory: Path) -> None:
        self.path = path
        self.guest = guest
        self.directory = directory
        self.now = {disk: bytearray(SIZE) for disk in DISKS}
        """What each disk holds."""
        self.then: dict[int, dict[str, bytes]] = {}
        """What each held when the backup of a point began."""

    def write(self, disk: str, offset: int, length: int, pattern: int) -> None:
        """Have the guest fill a range of a disk with a byte."""
        data = bytes([pattern]) * length
        self.guest.write(disk, offset, data)
        self.now[disk][offset : offset + length] = data

    def backup(self, action: str) -> str:
        """Run the tool; "" if it succeeds, or else what it complains of."""
        points = Manifest.load(self.directory).points
        number = points[-1].number + 1 if points else 0
        self.then[number] = {disk: bytes(held) for disk, held in self.now.items()}
        names = [word for disk in DISKS for word in ("--disk", disk)] if action == "full" else []
        return self.run(action, self.path, str(self.directory), *names)

    def run(self, *arguments: str) -> str:
        """Run the tool with a command line; "" if it succeeds, or else what it complains of."""
        said, complaints = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(complaints):
            status = vmbackup.main(arguments)
        assert (status == 0) == (complaints.getvalue() == "")
        return complaints.getvalue().strip()

    def points(self) -> list[int]:
        """The points that there are."""
        return [point.number for point in Manifest.load(self.directory).points]

    def check(self) -> None:
        """See that every point restores to what the disks held then."""
        for point in Manifest.load(self.directory).points:
            target = self.directory / f"restored-{point.number}"
            where = [self.path, str(self.directory), str(target)]
            assert self.run("restore", *where, "--point", str(point.number)) == ""
            for disk, image in point.images.items():
                assert self.guest.read(target / image) == self.then[point.number][disk], disk

    def check_images(self) -> None:
        """See that the images of every point that is known hold what the disks held then."""
        points = Manifest.load(self.directory).points
        for point in (point for point in points if point.number in self.then):
            for disk, image in point.images.items():
                held = self.guest.read(self.directory / image)
                assert held == self.then[point.number][disk], (point, disk)


def wait_for_copy(vm: qmpd.Machine) -> None:
    """Wait until the tool, which runs beside the test, has begun to copy."""
    while not any(job["type"] == "backup" for job in vm.cmd("query-jobs")):
        vm.event_wait("JOB_STATUS_CHANGE", timeout=None)
