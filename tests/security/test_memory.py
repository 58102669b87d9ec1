"""Images in memory cost no descriptor, those of the host one while they are open; all can go."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

import qmpd
from qmpd.errors import GenericError
from qmpd.testing import RemoteMachine, Server

MIB = 1 << 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def make(vm: qmpd.Machine, name: str) -> None:
    options = {"driver": "file", "filename": name, "size": MIB}
    vm.cmd("blockdev-create", job_id=name, options=options)
    vm.job(name).wait("concluded")
    vm.cmd("job-dismiss", id=name)


def use(vm: qmpd.Machine, name: str) -> None:
    vm.cmd("blockdev-add", driver="file", node_name="n", filename=name)
    vm.disk("n").write(0, os.urandom(MIB))
    vm.cmd("blockdev-del", node_name="n")


def test_images_in_memory_cost_no_descriptor_and_can_go() -> None:
    with qmpd.Machine() as vm:
        make(vm, "first")
        use(vm, "first")
        before = descriptors()
        for number in range(100):
            make(vm, f"image{number}")
        assert descriptors() == before
        tracemalloc.start()
        begin, _ = tracemalloc.get_traced_memory()
        for number in range(50):
            use(vm, f"image{number}")
            vm.remove_image(f"image{number}")
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held - begin < 2 * MIB
        assert descriptors() == before
        assert len(vm.memory_images) == 51


def test_an_image_in_use_stays() -> None:
    with qmpd.Machine() as vm:
        make(vm, "a")
        vm.cmd("blockdev-add", driver="file", node_name="n", filename="a")
        with pytest.raises(GenericError, match="Image 'a' is in use"):
            vm.remove_image("a")
        with pytest.raises(LookupError, match="no image 'b' in memory"):
            vm.remove_image("b")
        vm.cmd("blockdev-del", node_name="n")
        vm.remove_image("a")
        with pytest.raises(GenericError, match="No such file or directory"):
            vm.cmd("blockdev-add", driver="file", node_name="n", filename="a")


def test_an_overlay_is_open_while_a_node_is(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.raw" for number in range(30)]
    for path in paths:
        path.write_bytes(b"h" * MIB)
    with qmpd.Machine(storage="overlay", allow_read=[tmp_path]) as vm:
        use(vm, str(paths[0]))
        before = descriptors()
        for path in paths:
            vm.cmd("blockdev-add", driver="file", node_name="n", filename=str(path))
            assert descriptors() == before + 1
            vm.cmd("blockdev-del", node_name="n")
            assert descriptors() == before
        name = str(paths[0])
        assert vm.memory_images[name].allocated == MIB
        vm.remove_image(name)
        vm.cmd("blockdev-add", driver="file", node_name="n", filename=name)
        assert vm.disk("n").read(0, 4) == b"hhhh"


def test_at_the_control_monitor(tmp_path: Path) -> None:
    control = tmp_path / "control"
    with (
        Server("--image", "a,size=1M,name=d", "--control", f"unix:{control}") as server,
        RemoteMachine(server.path) as vm,
        RemoteMachine(str(control)) as bench,
    ):
        options = {"driver": "file", "filename": "b", "size": MIB}
        vm.cmd("blockdev-create", job_id="c", options=options)
        vm.event_wait("JOB_STATUS_CHANGE", match={"data": {"status": "concluded"}})
        used = {"filename": "a", "size": MIB, "allocated": 0, "in-use": True}
        image = {"filename": "b", "size": MIB, "allocated": 4096, "in-use": False}
        assert bench.cmd("x-sim-query-images") == [used, image]
        with pytest.raises(GenericError, match="Image 'a' is in use"):
            bench.cmd("x-sim-image-remove", filename="a")
        bench.cmd("x-sim-image-remove", filename="b")
        assert bench.cmd("x-sim-query-images") == [used]
        with pytest.raises(GenericError, match="there is no image 'b'"):
            bench.cmd("x-sim-image-remove", filename="b")
