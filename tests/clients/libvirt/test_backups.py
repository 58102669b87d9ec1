"""Checkpoints and backups: virsh prints, and libvirt sends, the same as with the real QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd
from tests.clients.libvirt.descriptions import CHECKPOINT, pull, push
from tests.clients.libvirt.world import Vm, play


def checkpoints(vm: Vm) -> None:
    """Checkpoints: made, measured, deleted, with their children, and after a restart."""
    vm.start()
    vm.virsh("checkpoint-create-as d c1")
    vm.write("virtio-disk0", "write -P 1 1M 128k")
    vm.virsh("checkpoint-create-as d c2; checkpoint-create-as d c3 --diskspec vdb,checkpoint=no")
    vm.virsh("checkpoint-list d --tree; checkpoint-dumpxml d c1 --size --no-domain")
    vm.virsh("checkpoint-delete d c2; checkpoint-list d --tree; checkpoint-info d c3")
    vm.virsh("checkpoint-create-as d c3; checkpoint-parent d c3; destroy d; start d")
    vm.virsh("checkpoint-dumpxml d c1 --size --no-domain; checkpoint-create-as d c4")
    vm.virsh("checkpoint-delete d c1 --children; checkpoint-list d; destroy d")
    vm.run("qemu-img", "info", "vda.qcow2")


def backup(vm: Vm) -> None:
    """Push and pull, full and incremental, over unix and TCP, with readers, and ended."""
    place = vm.place
    vm.file("c1.xml", CHECKPOINT.format("c1"))
    vm.file("c2.xml", CHECKPOINT.format("c2"))
    vm.file("full.xml", push(place / "full.qcow2"))
    vm.file("inc.xml", push(place / "inc.qcow2", "c1"))
    vm.start()
    vm.write("virtio-disk0", "write -P 1 1M 128k")
    vm.virsh("backup-begin d full.xml c1.xml")
    vm.until("domjobinfo d", "None")
    vm.virsh("domjobinfo d --completed")
    vm.write("virtio-disk0", "write -P 2 2M 64k")
    vm.virsh("backup-begin d inc.xml c2.xml")
    vm.until("domjobinfo d", "None")
    vm.run("qemu-img", "map", "--output=json", "inc.qcow2")
    unix = f"transport='unix' socket='{place}/nbd'"
    vm.file("pull.xml", pull(place / "scratch", unix))
    vm.virsh("backup-begin d pull.xml; backup-dumpxml d; domjobinfo d")
    vm.write("virtio-disk0", "write -P 3 1M 64k")
    vm.run(
        "qemu-io",
        "-r",
        "-f",
        "raw",
        "-c",
        "read -P 1 1M 128k",
        f"nbd+unix:///vda?socket={place}/nbd",
    )
    vm.virsh("domjobabort d")
    vm.until("domjobinfo d", "None")
    vm.virsh("domjobinfo d --completed --anystats")
    tcp = "transport='tcp' name='localhost' port='0'"
    bitmap = " exportname='one' exportbitmap='changed'"
    vm.file("pull2.xml", pull(place / "scratch2", tcp, "c1", bitmap))
    vm.virsh("backup-begin d pull2.xml; backup-dumpxml d")
    vm.virsh("backup-begin d pull.xml; checkpoint-create-as d c9; domjobabort d")
    vm.until("domjobinfo d", "None")
    vm.virsh("destroy d")


def redefined(vm: Vm) -> None:
    """Checkpoints that libvirt has forgotten, and is told of again."""
    vm.start()
    vm.virsh("checkpoint-create-as d c1; checkpoint-create-as d c2")
    for name in ("c1", "c2"):
        vm.file(f"{name}.xml", vm.virsh(f"checkpoint-dumpxml d {name}"))
    vm.virsh("checkpoint-delete d c2 --metadata; checkpoint-delete d c1 --metadata")
    vm.virsh("checkpoint-list d; checkpoint-create-as d c1")
    vm.virsh(
        "checkpoint-create d c1.xml --redefine; checkpoint-create d c2.xml --redefine-validate"
    )
    vm.virsh("checkpoint-create d c2.xml --redefine --redefine-validate; checkpoint-list d --tree")
    remove = '{"execute":"block-dirty-bitmap-remove","arguments":{"node":"NODE","name":"c2"}}'
    vm.virsh(f"qemu-monitor-command d '{remove.replace('NODE', 'libvirt-2-format')}'")
    vm.virsh("checkpoint-delete d c2 --metadata")
    vm.virsh("checkpoint-create d c2.xml --redefine --redefine-validate; checkpoint-list d")
    vm.virsh("checkpoint-create d c2.xml --redefine; checkpoint-dumpxml d c2 --size --no-domain")
    vm.virsh("checkpoint-delete d c2 --metadata; checkpoint-create-as d c3")
    vm.virsh("checkpoint-create-as d c4 --diskspec vdb,bitmap=c3")
    vm.virsh("checkpoint-delete d c1 --children-only; checkpoint-list d; destroy d")


def failing(vm: Vm) -> None:
    """Backups that cannot be made: each leaves everything as it was."""
    place = vm.place
    full = vm.mount("full", "512k") / "full.qcow2"
    (place / "taken").mkdir()
    vm.image("small.qcow2", "8M")
    vm.start()
    vm.virsh("checkpoint-create-as d c1")
    vm.write("virtio-disk0", "write -P 1 1M 2M")
    # what is found out while the backup runs
    vm.file("full.xml", push(full))
    vm.file("c2.xml", CHECKPOINT.format("c2"))
    vm.virsh("backup-begin d full.xml c2.xml")
    # how far it gets depends on how many requests are under way
    vm.until("domjobinfo d --completed --keep-completed --anystats", "No space left on device")
    vm.virsh("domjobinfo d; checkpoint-list d; domblklist d")
    # and what before that
    unix = "transport='unix' socket='{}'"
    for name, text in (
        ("checkpoint", push(place / "a.qcow2", "c7")),
        ("target", push(place / "taken")),
        ("small", push(place / "small.qcow2", "c1")),
        ("scratch", pull("/nowhere/scratch", unix.format(place / "s"))),
        ("socket", pull(place / "b.qcow2", unix.format("/nowhere/s"))),
        ("place", pull(place / "b.qcow2", unix.format(place / "taken"))),
        ("nothing", "<domainbackup><disks><disk name='vdc'/></disks></domainbackup>"),
    ):
        vm.file(f"{name}.xml", text)
        more = " --reuse-external" if name == "small" else ""
        vm.virsh(f"backup-begin d {name}.xml{more}; domjobinfo d")
    vm.virsh("backup-begin d target.xml c2.xml; backup-begin d socket.xml c2.xml")
    vm.virsh("checkpoint-list d; domblklist d; domjobabort d")
    vm.virsh("backup-dumpxml d")
    vm.file("inc.xml", push(place / "inc.qcow2", "c1"))
    vm.virsh(f"blockcopy d vda {place}/copy.qcow2 --transient-job --bandwidth 1")
    vm.virsh("backup-begin d inc.xml; blockjob d vda --abort")
    remove = '{"execute":"block-dirty-bitmap-remove","arguments":{"node":"NODE","name":"c1"}}'
    vm.virsh(f"qemu-monitor-command d '{remove.replace('NODE', 'libvirt-2-format')}'")
    vm.virsh("backup-begin d inc.xml; checkpoint-delete d c1; checkpoint-list d")
    vm.virsh("destroy d; backup-begin d inc.xml")


STORIES = {story.__name__: story for story in (checkpoints, redefined, backup, failing)}


@pytest.mark.parametrize("name", STORIES)
def test_the_same_story(libvirtd: Libvirtd, place: Path, programs: list[str], name: str) -> None:
    play(libvirtd, place, STORIES[name], programs)
