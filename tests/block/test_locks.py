"""Locks on image files, between qmpd and QEMU's programs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from qmpd.block.drivers.protocols.file import File
from qmpd.block.images import HostStorage, OverlayStorage
from qmpd.block.images.locks import FileLocks
from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import ALL, CONSISTENT_READ, NOTHING, RESIZE, WRITE, Perm
from qmpd.errors import BlockIOError
from tests.block.world import World
from tests.differential.pair import OPTIONS
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram


@pytest.fixture
def world() -> World:
    return World(HostStorage())


def qemu_img(*words: str) -> str:
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    result = subprocess.run(["qemu-img", *words], capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""


def test_two_holders_agree_exactly_when_each_shares_what_the_other_uses(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.touch()
    with path.open("r+b") as one, path.open("r+b") as two:
        first, second = (FileLocks(SimpleNamespace(fd=f.fileno())) for f in (one, two))
        for perm, shared, other_perm, other_shared in itertools.product(
            map(Perm, range(ALL + 1)),
            map(Perm, range(ALL + 1)),
            (NOTHING, CONSISTENT_READ, WRITE | RESIZE, ALL),
            (NOTHING, CONSISTENT_READ, ALL & ~RESIZE, ALL),
        ):
            first.lock(perm, ALL & ~shared)
            first.unlock_others(perm, ALL & ~shared)
            second.lock(other_perm, ALL & ~other_shared)
            agreed = not (other_perm & ~shared or perm & ~other_shared)
            try:
                second.check(other_perm, ALL & ~other_shared)
            except BlockIOError:
                assert not agreed
            else:
                assert agreed
            second.unlock_others(NOTHING, NOTHING)


def test_qemu_img_respects_a_node(world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "a.qcow2")
    assert qemu_img("create", "-q", "-f", "qcow2", path, "1M") == ""
    world.add("qcow2", "q", file={"driver": "file", "filename": path})
    assert 'Failed to get shared "write" lock' in qemu_img("info", path)
    assert 'Failed to get "write" lock' in qemu_img("resize", path, "2M")
    assert qemu_img("info", "-U", path) == ""
    world.delete("q")
    assert qemu_img("resize", path, "2M") == ""
    world.add("qcow2", "q", read_only=True, file={"driver": "file", "filename": path})
    assert qemu_img("info", path) == ""
    assert "lock" in qemu_img("resize", path, "3M")


def test_a_raw_node_locks_what_its_users_do(world: World, tmp_path: Path) -> None:
    path = str(tmp_path / "a.raw")
    assert qemu_img("create", "-q", "-f", "raw", path, "1M") == ""
    node = world.add("raw", "r", file={"driver": "file", "filename": path})
    assert qemu_img("info", path) == ""
    backend = world.run(BlockBackend.on(node, perm=WRITE, shared=ALL & ~RESIZE))
    assert qemu_img("info", path) == ""
    assert 'Failed to get "resize" lock' in qemu_img("resize", "-f", "raw", path, "2M")
    world.run(backend.close())
    assert qemu_img("resize", "-f", "raw", path, "2M") == ""


def test_a_node_respects_qemu(world: World, tmp_path: Path) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    path = str(tmp_path / "a.qcow2")
    assert qemu_img("create", "-q", "-f", "qcow2", path, "1M") == ""
    file = {"driver": "file", "filename": path}
    real = StdioProgram(["qemu-system-x86_64", *OPTIONS], tmp_path)
    try:
        real.message()
        real.execute({"execute": "qmp_capabilities"})
        add = {"driver": "qcow2", "node-name": "q", "file": file}
        assert real.execute({"execute": "blockdev-add", "arguments": add}) == [{"return": {}}]
        with pytest.raises(BlockIOError) as caught:
            world.add("qcow2", "q", file=file)
        assert caught.value.desc == 'Failed to get "write" lock'
        with pytest.raises(BlockIOError) as caught:
            world.add("qcow2", "q", read_only=True, file=file)
        assert caught.value.desc == 'Failed to get shared "write" lock'
        world.add("qcow2", "q", read_only=True, file={**file, "locking": "off"})
        world.add("qcow2", "s", read_only=True, file={**file, "force-share": True})
    finally:
        real.close()


def test_an_overlay_locks_the_host_as_a_reader_does(tmp_path: Path) -> None:
    world = World(OverlayStorage())
    path, raw = str(tmp_path / "a.qcow2"), str(tmp_path / "a.raw")
    assert qemu_img("create", "-q", "-f", "qcow2", path, "1M") == ""
    assert qemu_img("create", "-q", "-f", "raw", raw, "1M") == ""
    for name, driver in ((path, "qcow2"), (raw, "raw")):
        world.add(driver, driver, file={"driver": "file", "filename": name})
    assert qemu_img("info", path) == ""
    assert 'Failed to get "write" lock' in qemu_img("resize", path, "2M")
    assert qemu_img("resize", "-f", "raw", raw, "2M") == ""  # nobody uses what is in it
    for name in ("qcow2", "raw"):
        world.delete(name)
    assert qemu_img("resize", path, "2M") == ""  # nor what no node has open


def test_changes_do_not_cover_another_file(tmp_path: Path) -> None:
    world = World(OverlayStorage())
    path = tmp_path / "a.raw"
    path.write_bytes(b"a" * 4096)
    file = {"driver": "file", "filename": str(path)}
    world.add("raw", "r", file=file)
    world.delete("r")

    path.write_bytes(b"b" * 8192)
    node = world.add("raw", "r", file=file)  # nothing was written: it is seen as it is now
    assert node.length == 8192
    backend = world.run(BlockBackend.on(node, perm=WRITE, shared=ALL))
    world.run(backend.pwrite(0, b"x" * 512))
    world.run(backend.close())
    world.delete("r")
    world.add("raw", "r", file=file)
    world.delete("r")

    path.write_bytes(b"c" * 8192)
    with pytest.raises(BlockIOError, match="somebody has changed it"):
        world.add("raw", "r", file=file)


def test_an_overlay_respects_who_writes(tmp_path: Path) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    path = str(tmp_path / "a.qcow2")
    assert qemu_img("create", "-q", "-f", "qcow2", path, "1M") == ""
    file = {"driver": "file", "filename": path}
    reader = ["-blockdev", f"qcow2,node-name=q,read-only=on,file.driver=file,file.filename={path}"]
    writer = ["-blockdev", f"qcow2,node-name=q,file.driver=file,file.filename={path}"]
    for options in (writer, reader):
        real = StdioProgram(["qemu-system-x86_64", *OPTIONS, *options], tmp_path)
        world = World(OverlayStorage())
        try:
            real.message()
            if options is reader:
                world.add("qcow2", "q", file=file)
                continue
            with pytest.raises(BlockIOError) as caught:
                world.add("qcow2", "q", file=file)
            assert caught.value.desc == 'Failed to get shared "write" lock'
            assert caught.value.hint == f"Is another process using the image [{path}]?"
            world.add("qcow2", "q", file={**file, "locking": "off"})
        finally:
            real.close()
            world.storage.close()


def test_creation_does_not_touch_what_is_in_use(world: World, tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"x" * 4096)
    node = world.add("raw", "r", file={"driver": "file", "filename": str(path)})
    backend = world.run(BlockBackend.on(node, perm=WRITE, shared=CONSISTENT_READ))
    with pytest.raises(BlockIOError) as caught:
        world.run(File.create(world.graph, {"filename": str(path), "size": 512}))
    assert caught.value.desc == 'Failed to get "write" lock'
    assert path.read_bytes() == b"x" * 4096
    world.run(backend.close())
    world.run(File.create(world.graph, {"filename": str(path), "size": 512}))
    assert path.read_bytes() == bytes(512)
