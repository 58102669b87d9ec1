"""The graph: opening and rollback, closing, drains, backends, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmpd.block.change.drain import drain_all_begin, drain_all_end
from qmpd.block.change.edges import LONGEST_CHAIN, attach_child
from qmpd.block.drivers.protocols.file import File
from qmpd.block.images import OverlayStorage
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.backends import backend_of_device
from qmpd.block.io.device_ops import BlockDevOps
from qmpd.block.io.resize import block_resize
from qmpd.block.model.blockers import Blocker, Op
from qmpd.block.model.filename import filename
from qmpd.block.permission_bits import NO_ROLE, WRITE
from qmpd.block.query.info import query_block, query_named_block_nodes
from qmpd.block.query.stats import query_blockstats
from qmpd.errors import BlockIOError, GenericError, QmpError
from qmpd.loop.task import Task
from tests.block.world import World


@pytest.fixture
def world() -> World:
    return World()


def test_a_failed_open_leaves_nothing(world: World) -> None:
    world.file("a", 4096)
    inline = {"driver": "file", "filename": "a", "node-name": "f"}
    for options in (
        {"size": 4097},
        {"offset": -1},
        {"offset": 8192},
        {"detect-zeroes": "unmap"},
        {"force-share": True},
    ):
        with pytest.raises(QmpError):
            world.add("raw", "r", file=inline, **options)
        assert world.names() == []
    with pytest.raises(QmpError):
        world.add("raw", "1", file=inline)
    with pytest.raises(QmpError):
        world.add("raw", "f", file=inline)
    assert world.names() == []
    with pytest.raises(QmpError):
        world.add("qcow2", "q", file={"driver": "raw", "node-name": "r", "file": inline})
    assert world.names() == []
    world.add("raw", "r", file=inline)


def test_drivers_that_are_not_here(world: World) -> None:
    with pytest.raises(GenericError, match="Unknown driver 'bochs'"):
        world.add("bochs", "t", file={"driver": "null-co"})
    with pytest.raises(GenericError, match="Unknown driver 'rbd'"):
        world.add("rbd", "r")
    assert world.names() == []


def test_a_deep_stack_opens_and_closes(world: World) -> None:
    world.add("null-co", "n0", size=1 << 20)
    for depth in range(1, LONGEST_CHAIN):
        world.add("raw", f"n{depth}", file=f"n{depth - 1}")
    for depth in range(LONGEST_CHAIN - 1):
        node = world.graph.find_node(f"n{depth}")
        assert node is not None
        node.monitor_owned = False
    world.delete(f"n{LONGEST_CHAIN - 1}")
    assert world.names() == []


def test_a_cycle_is_refused(world: World) -> None:
    bottom = world.add("null-co", "n")
    top = world.add("raw", "r", file="n")
    with pytest.raises(GenericError) as caught:
        attach_child(bottom, "backing", top, NO_ROLE)
    assert caught.value.desc == "Making 'r' a backing child of 'n' would create a cycle"


def test_blockers_tell_the_newest_reason(world: World) -> None:
    node = world.add("null-co", "n")
    first, second = Blocker("first", (Op.STREAM,)), Blocker("second")
    node.blockers.add(first)
    node.check_operation(Op.STREAM)
    node.blockers.add(second)
    with pytest.raises(GenericError, match="Node 'n' is busy: second"):
        node.check_operation(Op.DRIVE_DEL)
    node.blockers.remove(second)
    with pytest.raises(GenericError, match="Node 'n' is busy: first"):
        world.delete("n")
    node.blockers.remove(first)
    world.delete("n")


def test_a_drain_waits_for_requests_and_holds_new_ones(world: World) -> None:
    node = world.add("null-co", "n", latency_ns=1000)
    backend = world.run(BlockBackend.on(node, name="d0"))
    order: list[str] = []

    async def write(name: str) -> None:
        await backend.pwrite(0, bytes(512))
        order.append(name)

    async def drain() -> None:
        await drain_all_begin(world.graph)
        order.append("drained")

    tasks: list[Task] = [world.clock.enter(write("first"), "w")]
    assert node.in_flight == 1
    tasks.append(world.clock.enter(drain(), "d"))
    tasks.append(world.clock.enter(write("second"), "w"))
    world.clock.advance(5000)
    assert order == ["first", "drained"]
    drain_all_end(world.graph)
    world.clock.advance(5000)
    assert order == ["first", "drained", "second"]
    assert all(task.done for task in tasks)
    assert node.quiesce_counter == backend.quiesce_counter == 0


def test_resizing_waits_for_requests(world: World) -> None:
    world.file("a", 4096)
    node = world.add("file", "f", filename="a")
    world.run(block_resize(node, 8192))
    assert node.length == 8192
    assert world.graph.all_backends == []


def test_a_backend_counts_what_a_device_does(world: World) -> None:
    node = world.add("null-co", "n", size=4096, latency_ns=1000)
    backend = world.run(BlockBackend.on(node, name="d0"))
    world.run(backend.counted("wr", 512, backend.pwrite(0, bytes(512))))
    world.run(backend.counted("rd", 1024, backend.pread(0, 1024)))
    world.run(backend.counted("flush", 0, backend.flush()))
    with pytest.raises(BlockIOError):
        world.run(backend.counted("rd", 512, backend.pread(4096, 512)))
    backend.account_invalid("wr")
    world.clock.advance(7)
    (entry,) = query_blockstats(world.graph, query_nodes=False)
    stats = entry["stats"]
    assert (stats["wr_bytes"], stats["wr_operations"], stats["wr_total_time_ns"]) == (512, 1, 1000)
    assert (stats["rd_bytes"], stats["rd_operations"], stats["rd_total_time_ns"]) == (1024, 1, 1000)
    assert (stats["flush_operations"], stats["flush_total_time_ns"]) == (1, 1000)
    assert (stats["failed_rd_operations"], stats["invalid_wr_operations"]) == (1, 1)
    assert stats["idle_time_ns"] == 7
    assert stats["wr_highest_offset"] == 512


class WithTray(BlockDevOps):
    has_tray = True


def test_queries_tell_of_devices(world: World) -> None:
    node = world.add("null-co", "n")
    backend: BlockBackend = world.run(BlockBackend.on(node))
    assert world.run(query_block(world.graph)) == []
    backend.attach_device("hd0")
    backend.set_dev_ops(WithTray())
    backend.enable_io_status()
    (entry,) = world.run(query_block(world.graph))
    assert entry["inserted"]["node-name"] == "n"
    del entry["inserted"]
    assert entry == {
        "device": "",
        "qdev": "hd0",
        "type": "unknown",
        "removable": False,
        "locked": False,
        "tray_open": False,
        "io-status": "ok",
    }
    assert backend_of_device(world.graph, "hd0") is backend
    backend.detach_device()
    assert world.run(query_block(world.graph)) == []
    assert query_blockstats(world.graph, query_nodes=False) == []


def test_file_names(world: World) -> None:
    world.file("é\x7f", 4096)
    node = world.add("raw", "r", offset=512, file={"driver": "file", "filename": "é\x7f"})
    assert filename(node) == (
        'json:{"offset": 512, "driver": "raw",'
        ' "file": {"driver": "file", "filename": "\\u00E9\\u007F"}}'
    )


def test_a_memory_image_outlives_its_nodes(world: World) -> None:
    world.file("a", 4096)
    node = world.add("file", "f", filename="a")
    world.run(node.pwrite(0, b"kept"))
    world.delete("f")
    node = world.add("file", "f", filename="a")
    assert world.run(node.pread(0, 4)) == b"kept"
    with pytest.raises(BlockIOError, match="Could not open 'b': No such file or directory"):
        world.add("file", "g", filename="b")


def test_auto_read_only_opens_for_writing_when_somebody_writes(world: World) -> None:
    world.file("a", 4096)
    node = world.add("file", "f", filename="a", auto_read_only=True)
    assert node.driver.image.read_only  # type: ignore[attr-defined]
    backend = world.run(BlockBackend.on(node))
    backend.require(WRITE)
    world.run(backend.pwrite(0, bytes(512)))
    world.run(backend.close())
    assert node.driver.image.read_only  # type: ignore[attr-defined]


def test_nodes_of_one_file_lock_each_other_out(world: World) -> None:
    world.file("a", 4096)
    inline = {"driver": "file", "filename": "a"}
    world.add("raw", "w", offset=512, file=inline)
    other = world.add("raw", "x", file=inline)
    world.run(BlockBackend.on(other)).require(WRITE)
    with pytest.raises(BlockIOError) as caught:
        world.run(block_resize(other, 512))
    assert caught.value.desc == 'Failed to get "resize" lock'
    assert caught.value.hint == "Is another process using the image [a]?"
    world.delete("w")
    world.run(block_resize(other, 512))


def test_a_thousand_nodes_are_listed_quickly(world: World) -> None:
    for number in range(1000):
        world.add("null-co", f"n{number}", size=1 << 20)
    listed = world.run(query_named_block_nodes(world.graph, flat=True))
    assert [entry["node-name"] for entry in listed[:2]] == ["n999", "n998"]
    assert len(listed) == 1000


def test_an_overlay_leaves_the_host_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"host" * 1024)
    world = World(OverlayStorage())
    new = str(tmp_path / "new.raw")
    for name in (str(path), new):
        world.run(File.create(world.graph, {"filename": name, "size": 512}))
        node = world.add("file", "f", filename=name)
        assert world.run(node.pread(0, 512)) == bytes(512)
        world.run(node.pwrite(0, b"mine"))
        world.delete("f")
    assert path.read_bytes() == b"host" * 1024
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.raw"]
    with pytest.raises(BlockIOError, match="Is a directory"):
        world.run(File.create(world.graph, {"filename": str(tmp_path), "size": 512}))
    world.storage.close()
