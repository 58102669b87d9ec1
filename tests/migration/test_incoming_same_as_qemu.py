"""A machine that waits for its guest: inactive nodes, who may use them, and what wakes them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.migration.world import Side, World, same

QCOW2 = "driver=qcow2,node-name={0},file.driver=file,file.filename={0}.qcow2"
PC = ("-machine", "pc,accel=tcg", "-S")


def _active(side: Side) -> dict[str, bool]:
    nodes = side.do("query-named-block-nodes", flat=True)
    return {node["node-name"]: node["active"] for node in nodes if node["node-name"][0] != "#"}


def _can_write(world: World, name: str) -> str:
    """What qemu-io says who wants to write an image that machines have open."""
    command = ["qemu-io", "-c", "write 0 512", f"{name}.qcow2"]
    done = subprocess.run(command, cwd=world.folder, capture_output=True, text=True, check=False)
    return done.stderr


def _arrive(world: World, target: Side) -> None:
    """Let a guest come that has been running."""
    source = world.start()
    source.do("migrate", uri="file:guest")
    source.wait("STOP")
    source.status("postmigrate")
    target.do("migrate-incoming", uri="file:guest")


def test_nodes_of_every_kind(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        world.image("d", "1M")
        for name in ("d", "e", "f", "g"):
            world.image(f"{name}.qcow2", "1M")
        subprocess.run(
            ["qemu-img", "bitmap", "--add", "d.qcow2", "b"], cwd=world.folder, check=True
        )
        target = world.start(
            *(
                "-blockdev",
                QCOW2.format("d"),
                "-blockdev",
                f"{QCOW2.format('e')},active=on,file.active=on",
            ),
            *("-drive", "if=none,id=fd,file=f.qcow2,format=qcow2,node-name=f"),
            *("-incoming", "defer"),
        )
        seen = [_active(target)]
        target.do("query-block")
        target.do(
            "blockdev-add",
            **{
                "driver": "qcow2",
                "node-name": "g",
                "file": {"driver": "file", "filename": "g.qcow2"},
            },
        )
        seen.append(_active(target))
        can = [_can_write(world, name) for name in ("d", "e", "f", "g")]
        target.do("block-dirty-bitmap-add", node="d", name="n", persistent=True)
        target.io("d", "read 0 4k")
        target.do("blockdev-set-active", **{"node-name": "g", "active": True})
        target.io("g", "write 0 4k")
        seen.append(_active(target))
        target.do("blockdev-set-active", active=False)
        seen.append(_active(target))
        _arrive(world, target)
        target.status("running")
        seen.append(_active(target))
        can.append(_can_write(world, "d"))
        target.do("query-block")
        target.bitmaps()
        return seen, can, target.complaints()

    same(tmp_path, scenario)


def test_jobs_and_exports_of_inactive_nodes(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        for name in ("d", "e"):
            world.image(f"{name}.qcow2", "1M")
        nodes = ("-blockdev", QCOW2.format("d"), "-blockdev", QCOW2.format("e"))
        target = world.start(*nodes, "-incoming", "defer")
        target.do(
            "blockdev-backup", **{"job-id": "j", "device": "d", "target": "e", "sync": "full"}
        )
        target.do(
            "blockdev-mirror", **{"job-id": "j", "device": "d", "target": "e", "sync": "full"}
        )
        target.do("blockdev-snapshot", node="d", overlay="e")
        target.do("block_resize", **{"node-name": "d", "size": 2 << 20})
        target.do("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
        export = {"type": "nbd", "node-name": "d", "writable": True}
        target.do("block-export-add", id="may", **{"allow-inactive": True}, **export)
        seen = [_active(target)]
        target.do("block-export-add", id="x", name="x", **export)
        seen.append(_active(target))
        _arrive(world, target)
        target.status("running")
        seen.append(_active(target))
        return seen, target.complaints()

    same(tmp_path, scenario)


@pytest.mark.parametrize(
    ("model", "how"),
    [
        ("virtio-blk-pci", "guest"),
        ("scsi-hd", "guest, paused here"),
        ("virtio-blk-pci", "export, then guest"),
    ],
)
def test_devices_take_their_images_when_the_guest_is_here(
    tmp_path: Path, model: str, how: str
) -> None:
    def scenario(world: World) -> Any:
        world.image("d.qcow2", "1M")
        bus = ("-device", "virtio-scsi-pci") if model == "scsi-hd" else ()
        machine = (*PC, *bus, "-blockdev", QCOW2.format("d"), "-device", f"{model},drive=d,id=v")
        source = world.start(*machine)
        paused = "paused" in how
        target = world.start(
            *(machine if paused else (*machine[:2], *machine[3:])), "-incoming", "defer"
        )
        can = [_can_write(world, "d")]
        source.do("cont")
        seen = [_active(target)]
        if "export" in how:
            # the source has the image, so this cannot be
            target.do("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
            export = {"type": "nbd", "id": "x", "node-name": "d", "writable": True}
            target.do("block-export-add", **export)
        target.do("migrate-incoming", uri="unix:m.sock")
        source.do("migrate", uri="unix:m.sock")
        source.status("postmigrate")
        target.status("paused" if paused else "running")
        seen += [_active(source), _active(target)]
        can.append(_can_write(world, "d"))
        if paused:
            target.do("cont")
            target.wait("RESUME")
            seen.append(_active(target))
            can.append(_can_write(world, "d"))
        source.do("cont")
        seen.append(_active(source))
        return seen, can, source.complaints(), target.complaints()

    same(tmp_path, scenario)


def test_images_are_not_repaired(tmp_path: Path) -> None:
    """Neither is one that is broken marked: that is a corruption that is not fatal."""

    def scenario(world: World) -> Any:
        world.image("d.qcow2", "-o", "lazy_refcounts=on", "1M")
        image = world.folder / "d.qcow2"
        content = bytearray(image.read_bytes())
        l1 = int.from_bytes(content[40:48], "big")
        content[79] |= 1  # dirty
        content[l1 : l1 + 8] = b"\x80\0\0\0\0\x2a\x2a\x2a"
        image.write_bytes(content)
        target = world.start("-blockdev", QCOW2.format("d"), "-incoming", "defer")
        target.io("d", "read 0 512")
        target.do("quit")
        target.ends()
        said = target.program.stderr()
        assert image.read_bytes() == content
        return [line for line in said.splitlines() if "corrupt" in line]

    same(tmp_path, scenario)


def test_devices_that_cannot_be_migrated(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        world.image("d.qcow2", "1M")
        nvme = ("-blockdev", QCOW2.format("d"), "-device", "nvme,serial=1,drive=d,id=v")
        source = world.start(*PC, *nvme)
        source.do("query-migrate")
        source.do("migrate", uri="exec:true")
        source.do("human-monitor-command", **{"command-line": "info migrate"})
        save = {"job-id": "j", "tag": "t", "vmstate": "d", "devices": ["d"]}
        source.do("snapshot-save", **save)
        source.wait("JOB_STATUS_CHANGE", "concluded")
        source.do("query-jobs")
        strict = world.start(*PC, "-only-migratable")
        strict.do("device_add", driver="nvme", serial="1", id="v")
        strict.do("query-migrate")
        strict.do("human-monitor-command", **{"command-line": "info migrate"})

    same(tmp_path, scenario)
