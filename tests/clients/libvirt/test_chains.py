"""Snapshots, commits, pulls, copies: virsh prints, and libvirt sends, the same as with QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd
from tests.clients.libvirt.world import WAIT, Disk, Vm, play

DISKS = ("vda", "vdb", "vdc", "vdd", "vde", "vdf")


def _snapshot(vm: Vm, name: str, *disks: str, more: str = "") -> None:
    """An external snapshot of these disks, the others left out."""
    out = [f"--diskspec {disk},snapshot=no" for disk in DISKS if disk not in disks]
    words = ["snapshot-create-as d", name, "--disk-only --atomic --no-metadata", more, *out]
    vm.virsh(" ".join(words))


def chains(vm: Vm) -> None:
    """Snapshots, commits, pulls and copies, each on disks of its own."""
    vm.start(*map(Disk, DISKS))
    _snapshots(vm)
    _commit(vm)
    _pull(vm)
    _copy(vm)
    vm.virsh("dumpxml d --xpath //disk; destroy d")
    for image in ("vda.a3", "vdc.qcow2", "vdd.p3", "copy3.qcow2"):
        vm.run("qemu-img", "info", "--backing-chain", image)
    for number in range(1, 5):
        vm.run("qemu-io", "-r", "-c", f"read -P {number} {number}M 64k", "vdc.qcow2")


def _snapshots(vm: Vm) -> None:
    """External snapshots, of one disk and of two, with files that are there, and failing."""
    place = vm.place
    _snapshot(vm, "s1", "vda", "vdb")
    _snapshot(vm, "s2", "vdb", more=f"--diskspec vdb,file={place}/b2.qcow2")
    vm.image("a3.qcow2", "-b", "vda.s1", "-F", "qcow2", "16M")
    (place / "a3.qcow2").rename(place / "vda.a3")
    _snapshot(vm, "s3", "vda", more=f"--reuse-external --diskspec vda,file={place}/vda.a3")
    _snapshot(vm, "s4", "vda", more="--diskspec vda,file=/nowhere/a4.qcow2")
    vm.virsh("domblklist d; snapshot-create-as d s5 --disk-only --diskspec vda,snapshot=no")
    vm.virsh("snapshot-list d --tree; snapshot-dumpxml d s5 --xpath //disks")


def _commit(vm: Vm) -> None:
    """Commits: of what is active, aborted, pivoted to, kept; and of the middle of a chain."""
    for number in range(1, 5):
        _snapshot(vm, f"c{number}", "vdc")
        vm.write("virtio-disk2", f"write -P {number} {number}M 64k")
    vm.virsh(f"blockcommit d vdc --top {vm.place}/vdc.c3 --base {vm.place}/vdc.c2 {WAIT}")
    vm.virsh(f"domblklist d; blockcommit d vdc --active {WAIT}; blockjob d vdc --info")
    vm.virsh("blockjob d vdc --abort; domblklist d")
    vm.virsh(f"blockcommit d vdc --active --keep-overlay {WAIT}; domblklist d")
    vm.virsh(f"blockcommit d vdc --active --pivot {WAIT}; domblklist d")


def _pull(vm: Vm) -> None:
    """Pulls: down to a base, and of a whole chain."""
    for number in range(1, 4):
        _snapshot(vm, f"p{number}", "vdd")
    vm.virsh(f"blockpull d vdd --base {vm.place}/vdd.p1 {WAIT}; domblklist d")
    vm.virsh(f"blockpull d vdd {WAIT}; domblklist d")


def _copy(vm: Vm) -> None:
    """Copies of a disk: finished, pivoted to, shallow, onto a file that is there, aborted."""
    _snapshot(vm, "y1", "vde", "vdf")
    vm.virsh(f"blockcopy d vde {vm.place}/copy1.qcow2 {WAIT} --finish --transient-job")
    vm.virsh(f"blockcopy d vde {vm.place}/copy2.raw --format raw {WAIT} --pivot --transient-job")
    vm.image("copy3.qcow2", "-b", "vdf.qcow2", "-F", "qcow2", "16M")
    vm.virsh(
        f"blockcopy d vdf {vm.place}/copy3.qcow2 --shallow --reuse-external {WAIT} --pivot"
        " --transient-job --synchronous-writes"
    )
    vm.virsh(f"blockcopy d vdf {vm.place}/copy4.qcow2 --transient-job --bandwidth 1")
    vm.virsh("blockjob d vdf --bandwidth 2; blockjob d vdf --abort; domblklist d")


def internal(vm: Vm) -> None:
    """Internal snapshots: taken, gone back to, deleted."""
    vm.start()
    vm.virsh("snapshot-create-as d s1; snapshot-create-as d s2; snapshot-list d --tree")
    vm.virsh("snapshot-revert d s1; domstate d; snapshot-current d --name")
    vm.virsh("snapshot-delete d s2; snapshot-list d; snapshot-delete d s1; destroy d")
    vm.run("qemu-img", "check", "-q", "vda.qcow2")


def remembered(vm: Vm) -> None:
    """Chains that change while checkpoints remember what is written."""
    vm.start(Disk("vda"), Disk("vdb"))
    vm.virsh("checkpoint-create-as d c1")
    for number in range(1, 4):
        vm.write("virtio-disk0", f"write -P {number} {number}M 64k")
        vm.virsh(f"snapshot-create-as d s{number} --disk-only --atomic --no-metadata")
        vm.virsh(f"checkpoint-create-as d d{number}")
    vm.write("virtio-disk0", "write -P 9 9M 64k")
    vm.virsh(f"blockcommit d vda --top {vm.place}/vda.s2 --base {vm.place}/vda.s1 {WAIT}")
    vm.virsh(f"blockpull d vdb --base {vm.place}/vdb.s1 {WAIT}; domblklist d")
    vm.virsh("checkpoint-dumpxml d c1 --size --no-domain; checkpoint-delete d d1")
    vm.virsh(f"blockcommit d vda --active --pivot {WAIT}; checkpoint-list d --tree")
    copy = f"{vm.place}/copy.qcow2"
    vm.virsh(f"blockcopy d vdb {copy} --shallow --pivot {WAIT} --transient-job; domblklist d")
    for name in ("c1", "d2", "d3"):
        vm.virsh(f"checkpoint-dumpxml d {name} --size --no-domain")
    vm.virsh("destroy d")
    for image in ("vda.qcow2", "copy.qcow2"):
        vm.run("qemu-img", "info", image)


STORIES = {story.__name__: story for story in (chains, internal, remembered)}


@pytest.mark.parametrize("name", STORIES)
def test_the_same_story(libvirtd: Libvirtd, place: Path, programs: list[str], name: str) -> None:
    play(libvirtd, place, STORIES[name], programs)
