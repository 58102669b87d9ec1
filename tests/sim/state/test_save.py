"""`Mark.save` and `Machine.load`: a machine in a file."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

import qmpd
from qmpd import aio
from qmpd.errors import GenericError
from qmpd.profile import load
from tests.sim.state.moves import Session, new_machine
from tests.sim.state.test_checkpoint import quiet

BASE = {"path": "/base.qcow2", "format": "qcow2", "size": "4M", "cluster_size": "4k"}
TOP = {**BASE, "path": "/top.qcow2", "backing": "/base.qcow2", "backing_fmt": "qcow2"}


def a_machine() -> qmpd.Machine:
    """A chain of images, bitmaps of all kinds, filters, limits, objects."""
    images: Any = {"base": {**BASE, "read_only": True}, "top": TOP}
    vm = qmpd.Machine(disks={"d": "4M"}, images=images, clock="held", name="guest", seed=4)
    vm.cmd("object-add", qom_type="throttle-group", id="tg", limits={"iops-total": 1000})
    vm.cmd("object-add", qom_type="iothread", id="io", poll_grow=3)
    vm.cmd("blockdev-add", driver="throttle", node_name="th", throttle_group="tg", file="d")
    vm.cmd("block-dirty-bitmap-add", node="top", name="kept", persistent=True)
    vm.cmd("block-dirty-bitmap-add", node="top", name="off", persistent=True, disabled=True)
    vm.cmd("block-dirty-bitmap-add", node="d", name="memory", granularity=512)
    vm.disk("top").write(70000, b"top" * 1000)
    vm.disk("d").write(4096, b"d" * 10000)
    vm.cmd("blockdev-snapshot-sync", {"device": "d", "snapshot-file": "/over.qcow2"})
    vm.cmd("block-dirty-bitmap-add", node="d", name="over")
    vm.disk("d").write(0, b"o" * 512)
    rates = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"), 0)
    vm.cmd("block_set_io_throttle", {"device": "top", "iops": 7000, **rates})
    vm.cmd("stop")
    vm.clock.advance(12.5)
    return vm


def told(vm: qmpd.Machine) -> list[Any]:
    """What a loaded machine tells as the saved one did, made-up names and statistics aside."""
    names: dict[str, str] = {}

    def normal(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: normal(part)
                for name, part in value.items()
                if name not in ("dirty-bitmaps", "actual-size")
                # persistent bitmaps are in the image then
                and name != "bitmaps"
                and not (name == "virtual-size" and value["format"] == "file")
            }
        if isinstance(value, list):
            return [normal(part) for part in value]
        if isinstance(value, str) and value.startswith("#block"):
            return names.setdefault(value, f"#{len(names)}")
        return value

    blocks = normal(vm.cmd("query-block"))
    bitmaps = {
        (node["node-name"] if node["node-name"][0] != "#" else "", *sorted(bitmap.items()))
        for node in vm.cmd("query-named-block-nodes")
        for bitmap in node.get("dirty-bitmaps", [])
    }
    disks = sorted(block["device"] for block in blocks if block["device"])
    return [
        blocks,
        bitmaps,
        sorted(json.dumps(normal(n), sort_keys=True) for n in vm.cmd("query-named-block-nodes")),
        vm.cmd("query-status"),
        vm.cmd("query-name"),
        vm.cmd("qom-list", path="/objects"),
        vm.clock.now,
        [hashlib.sha256(vm.disk(name).read(0, vm.disk(name).size)).digest() for name in disks],
    ]


def test_everything_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "vm"
    with a_machine() as vm:
        before = told(vm)
        vm.checkpoint().save(path)
        assert told(vm) == before
    assert path.stat().st_size < 20_000
    for _ in range(2):
        with qmpd.Machine.load(path) as vm:
            assert told(vm) == before
            limits = vm.cmd("qom-get", path="/objects/tg", property="limits")
            assert limits["iops-total"] == 1000
            assert vm.cmd("query-iothreads")[0]["poll-grow"] == 3
            vm.cmd("cont")
            vm.disk("top").write(0, b"x" * 512)
            vm.cmd("blockdev-del", node_name="th")
            assert vm.bitmap("top", "kept").count == 2 * 4096
            vm.reset()
            assert told(vm) == before
            vm.checkpoint().save(tmp_path / "again")
        with qmpd.Machine.load(tmp_path / "again") as vm:
            assert told(vm) == before
            vm.restart()
            assert vm.bitmap("top", "kept").count == 4096


def test_an_inconsistent_bitmap_is_kept(tmp_path: Path) -> None:
    with qmpd.Machine(images={"q": BASE}) as vm:
        vm.cmd("block-dirty-bitmap-add", node="q", name="b", persistent=True)
        vm.restart()
        vm.disk("q").write(0, b"x")
        vm.crash()
        vm.restart()
        assert vm.bitmap("q", "b").inconsistent
        vm.checkpoint().save(tmp_path / "vm")
    with qmpd.Machine.load(tmp_path / "vm") as vm:
        assert vm.bitmap("q", "b").inconsistent


@pytest.mark.parametrize("seed", range(8))
def test_after_any_session(seed: int, tmp_path: Path) -> None:
    with new_machine(seed) as vm:
        Session(seed).skip(15, vm)
        quiet(vm)
        before = told(vm)
        vm.checkpoint().save(tmp_path / "vm")
    with qmpd.Machine.load(tmp_path / "vm") as vm:
        after = told(vm)
        # options of a node that a job has made, and the order of nodes, may differ
        assert after[7] == before[7]
        assert [block["device"] for block in after[0]] == [block["device"] for block in before[0]]


def test_over_files_of_the_host(tmp_path: Path) -> None:
    image = tmp_path / "a.raw"
    image.write_bytes(bytes(8192) + b"host" * 2048)
    with qmpd.Machine(
        images={"a": str(image)}, disks={"d": "1M"}, storage="overlay", version="10.0"
    ) as vm:
        vm.disk("a").write(0, b"mine")
        vm.disk("d").write(0, b"disk")
        vm.checkpoint().save(tmp_path / "vm")
    image.unlink()
    with qmpd.Machine.load(tmp_path / "vm") as vm:
        assert vm.disk("a").read(0, 16384) == b"mine" + bytes(8188) + b"host" * 2048
        assert vm.disk("d").read(0, 4) == b"disk"


def test_on_an_event_loop(tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.Machine(disks={"a": "1M"}) as vm:
            await vm.disk("a").write(0, b"x")
            (await vm.checkpoint()).save(tmp_path / "vm")
        async with aio.Machine.load(tmp_path / "vm") as vm:
            assert await vm.disk("a").read(0, 1) == b"x"

    asyncio.run(main())


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vm"
    with a_machine() as vm:
        vm.checkpoint().save(path)
    good = path.read_bytes()

    def why(data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r".") as caught:
            qmpd.Machine.load(path)
        return str(caught.value)

    assert why(b"hello") == f"'{path}' is no machine that qmpd has saved"
    assert why(b"") == f"'{path}' is no machine that qmpd has saved"
    text = why(good.replace(b"machine 1", b"machine 9", 1))
    assert text == f"'{path}' has version 9 of the format; this qmpd reads version 1"
    rng = random.Random(1)
    for _ in range(50):
        place = rng.randrange(20, len(good))
        assert "damaged" in why(good[:place])
        assert "damaged" in why(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    # a right checksum does not make it right
    lines = good[:-32].split(b"\n", 2)
    description = json.loads(lines[1])
    wrong: list[Any] = [{}, [], {**description, "files": 5}, {**description, "setup": {"more": {}}}]
    wrong.append({**description, "files": [{"name": "x", "length": 1, "pages": [[0, 9]]}]})
    for value in wrong:
        data = b"\n".join([lines[0], json.dumps(value).encode(), lines[2]])
        why(data + hashlib.sha256(data).digest())
    with pytest.raises(OSError, match="No such file"):
        qmpd.Machine.load(tmp_path / "nothing")


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with qmpd.Machine(version=load()) as vm, pytest.raises(GenericError, match="one's own"):
        vm.checkpoint().save(tmp_path / "vm")


def test_a_node_without_the_backing_file_that_its_image_names(tmp_path: Path) -> None:
    images = {"base": {"path": "/base", "format": "qcow2", "size": "1M"}}
    with qmpd.Machine(images=images) as vm:
        snapshot = {"snapshot-file": "/top", "snapshot-node-name": "top"}
        vm.cmd("blockdev-snapshot-sync", {"device": "base", **snapshot})
        file = {"driver": "file", "filename": "/top", "locking": "off"}
        options = {"driver": "qcow2", "node-name": "x", "read-only": True, "backing": None}
        vm.cmd("blockdev-add", {**options, "file": {**file, "read-only": True}})
        before = vm.nodes["x"]["file"]
        vm.checkpoint().save(tmp_path / "mark")
    with qmpd.Machine.load(tmp_path / "mark") as vm:
        assert vm.nodes["x"]["file"] == before
        assert "backing-image" not in vm.nodes["x"]["image"]
