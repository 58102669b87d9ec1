"""A limit of what images in memory may hold: a write beyond it fails, and all else goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qmpd
from benchmarks.nbd_client import Connection
from qmpd.block.images.memory import MemoryFile
from qmpd.block.images.memory_image import MemoryImage
from qmpd.block.images.pages import PAGE
from qmpd.block.images.room import Room
from qmpd.errors import BlockIOError, GenericError
from tests.exhaustion.beside import serving
from tests.exhaustion.nbd import export, nbd_error, read, reopen, trim, write

MIB = 1 << 20
FULL = "No space left on device"


def held(vm: qmpd.Machine) -> int:
    return sum(image.allocated for image in vm.memory_images.values())


def test_a_guest_meets_a_full_disk() -> None:
    with qmpd.Machine(disks={"a": "64M", "b": "64M"}, memory_limit="8M") as vm:
        a, b = vm.disk("a"), vm.disk("b")
        a.write(0, os.urandom(6 * MIB))
        b.write(0, b"b" * (2 * MIB))
        assert held(vm) == 8 * MIB
        for disk in (a, b):
            with pytest.raises(BlockIOError, match=FULL):
                disk.write(32 * MIB, b"x")
            assert disk.read(32 * MIB, 2) == bytes(2)
        # nothing of a write that finds no room is done, and what is there can be written again
        with pytest.raises(BlockIOError, match=FULL):
            a.write(6 * MIB - PAGE, b"x" * (2 * PAGE))
        assert a.read(6 * MIB, 1) == bytes(1)
        a.write(0, b"y" * (6 * MIB))
        assert held(vm) == 8 * MIB


def test_what_is_freed_can_be_had() -> None:
    with qmpd.Machine(memory_limit=4 * MIB) as vm:
        for name in "ab":
            make(vm, name)
        a, b = vm.disk("a"), vm.disk("b")
        a.write(0, b"a" * (3 * MIB))
        with pytest.raises(BlockIOError, match=FULL):
            b.write(0, b"b" * (2 * MIB))
        a.discard(MIB, 2 * MIB)
        b.write(0, b"b" * (2 * MIB))
        vm.cmd("blockdev-del", node_name="b")
        vm.remove_image("b")
        a.write(8 * MIB, b"a" * (2 * MIB))


def test_a_job_stops_and_goes_on() -> None:
    with qmpd.Machine(disks={"a": "16M", "b": "16M"}, memory_limit="18M") as vm:
        vm.disk("a").write(0, b"x" * (8 * MIB))
        make(vm, "c")
        vm.disk("c").write(0, b"c" * (4 * MIB))
        vm.cmd("blockdev-del", node_name="c")
        backup: dict[str, Any] = {"device": "a", "target": "b", "sync": "full"}
        vm.cmd("blockdev-backup", job_id="j", on_target_error="enospc", **backup)
        error = vm.event_wait("BLOCK_JOB_ERROR")
        assert error is not None
        assert error["data"] == {"device": "j", "operation": "write", "action": "stop"}
        assert vm.cmd("query-block-jobs")[0]["io-status"] == "nospace"
        vm.remove_image("c")
        vm.cmd("block-job-resume", device="j")
        assert vm.job("j").wait() == "null"
        assert vm.job("j").error is None
        assert vm.disk("b").read(0, 8 * MIB) == b"x" * (8 * MIB)

        make(vm, "c")
        vm.cmd("blockdev-mirror", job_id="k", device="a", target="c", sync="full")
        assert vm.job("k").wait() == "null"
        assert vm.job("k").error == FULL


def make(vm: qmpd.Machine, name: str) -> None:
    """An image in memory with a node on it, both of that name."""
    options = {"driver": "file", "filename": name, "size": 16 * MIB}
    vm.cmd("blockdev-create", job_id=name, options=options)
    vm.job(name).wait("concluded")
    vm.cmd("job-dismiss", id=name)
    vm.cmd("blockdev-add", driver="file", node_name=name, filename=name, discard="unmap")


def test_what_is_reserved_holds_nothing() -> None:
    with qmpd.Machine(memory_limit="8M") as vm:
        options = {"driver": "file", "filename": "a", "size": 16 * MIB, "preallocation": "full"}
        vm.cmd("blockdev-create", job_id="j", options=options)
        vm.job("j").wait("concluded")
        assert vm.memory_images["a"].allocated == 16 * MIB
        vm.cmd("blockdev-add", driver="file", node_name="a", filename="a")
        vm.disk("a").write(0, b"x" * (8 * MIB))
        with pytest.raises(BlockIOError, match=FULL):
            vm.disk("a").write(8 * MIB, b"x")
        vm.disk("a").write_zeroes(0, 4 * MIB)
        vm.disk("a").write(8 * MIB, b"x")


def test_changes_of_an_overlay_count(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"h" * (4 * MIB))
    images = {"disk0": str(tmp_path / "image")}
    with qmpd.Machine(images=images, storage="overlay", memory_limit="1M") as vm:
        disk = vm.disk("disk0")
        disk.write(0, b"x" * MIB)
        for offset, length in ((MIB, 1), (2 * MIB, 65536), (3 * MIB - 1, 2)):
            with pytest.raises(BlockIOError, match=FULL):
                disk.write(offset, b"y" * length)
            # the host's file still shows
            assert disk.read(offset, length) == b"h" * length
        assert disk.read(0, MIB) == b"x" * MIB


def test_each_fork_has_the_same_limit() -> None:
    with qmpd.Machine(disks={"disk0": "16M"}, memory_limit="2M") as vm:
        vm.disk("disk0").write(0, b"x" * MIB)
        with vm.checkpoint().fork() as fork:
            for one in (vm, fork):
                one.disk("disk0").write(MIB, b"y" * MIB)
                with pytest.raises(BlockIOError, match=FULL):
                    one.disk("disk0").write(2 * MIB, b"z")
        vm.reset()
        vm.disk("disk0").write(8 * MIB, b"x" * (2 * MIB))


@pytest.mark.parametrize("storage", ["memory", "overlay"])
def test_with_power_that_may_be_lost(storage: Any) -> None:
    with qmpd.Machine(disks={"d": "16M"}, storage=storage, power=True, memory_limit="2M") as vm:
        vm.disk("d").write(0, b"x" * (2 * MIB))
        with pytest.raises(BlockIOError, match=FULL):
            vm.disk("d").write(2 * MIB, b"z")
        vm.disk("d").flush()
        vm.power_loss()


def test_a_limit_is_a_size() -> None:
    with pytest.raises(GenericError, match="'much' is no size"):
        qmpd.Machine(memory_limit="much")


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "punch", "zero", "reserve", "cut", "fork"]),
        st.integers(0, 2),
        st.integers(0, 30 * PAGE) | st.integers(0, 30).map(lambda n: n * PAGE),
        st.integers(1, 6 * PAGE) | st.integers(1, 6).map(lambda n: n * PAGE),
    ),
    max_size=30,
)


def change(image: MemoryImage, what: str, offset: int, length: int) -> int:
    """Change an image; returns the number of the error, 0 if there is none."""
    try:
        if what == "write":
            image.pwrite(offset, os.urandom(length))
        elif what == "reserve":
            image.file.reserve(offset, length)
        elif what == "zero":
            image.zero(offset, length, may_unmap=False)
        elif what == "punch":
            image.punch(offset, length)
        elif what == "cut":
            image.truncate(offset)
        else:
            image.file.fork()
    except BlockIOError as error:
        return error.errno
    return 0


@settings(max_examples=150, deadline=None)
@given(CHANGES, st.integers(0, 24))
def test_the_limit_is_met_to_the_page(changes: list[tuple[str, int, int, int]], most: int) -> None:
    room = Room(most * PAGE)
    images = [MemoryImage(MemoryFile(room), read_only=False) for _ in range(3)]
    for what, which, offset, length in changes:
        image = images[which]
        needed = image.file.missing(offset // PAGE, -(-(offset + length) // PAGE)) * PAGE
        is_too_much = what == "write" and needed > most * PAGE - room.used()
        before = image.pread(0, 40 * PAGE)
        assert change(image, what, offset, length) == (errno.ENOSPC if is_too_much else 0)
        assert not is_too_much or image.pread(0, 40 * PAGE) == before
        assert room.used() <= most * PAGE


def test_clients_of_a_daemon(tmp_path: Path) -> None:
    options = ("--disk", "disk0=1G", "--disk", "disk1=1G", "--memory-limit", "8M")
    with serving(tmp_path, *options) as daemon:
        client = daemon.client()
        path = export(client, tmp_path, "disk0", "disk1")
        nbd, other = Connection(path, "disk0"), Connection(path, "disk1")
        assert not write(other, 0, b"x" * 4096)
        for size in (4096, 65536, MIB, 4 * MIB):
            offset = 0
            while not (error := write(nbd, offset, os.urandom(size))):
                offset += size
            assert nbd_error(error) == errno.ENOSPC
            assert offset <= 8 * MIB
            # the connection goes on, and others do
            assert not write(nbd, 0, os.urandom(4096))
            assert read(nbd, 512 * MIB, 4096) == bytes(4096)
            assert nbd_error(write(other, MIB, b"x" * size)) == errno.ENOSPC
            assert not write(other, 0, b"x" * 4096)
            assert client.execute("query-status")["return"]["running"]
        reopen(client, "disk0")
        assert not trim(nbd, 0, 1 << 30)
        assert not write(nbd, 32 * MIB, os.urandom(MIB))
        nbd.close()
        other.close()
        client.close()


def test_a_wrong_limit_is_told(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-m", "qmpd.cli.main", "serve", "--qmp", "unix:qmp"]
    ran = subprocess.run(
        [*argv, "--memory-limit", "much"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "--memory-limit: 'much' is no size" in ran.stderr
