"""Domains and their disks: virsh prints, and libvirt sends, the same as with the real QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd
from tests.clients.libvirt.descriptions import pull, push
from tests.clients.libvirt.world import WAIT, Disk, Vm, play

SCSI = """<controller type='scsi' model='virtio-scsi'/><controller type='usb' model='none'/>
<memballoon model='none'/>"""


def life(vm: Vm) -> None:
    """Start, look, suspend, resume; plug disks in and out; be refused; shut down, destroy."""
    vm.start(Disk("vda"), Disk("vdb"), Disk("vdc", format="raw"), devices=SCSI)
    vm.virsh("domstate d --reason; dominfo d; vcpuinfo d; domblklist d --details")
    vm.virsh("suspend d; domstate d --reason; resume d; domstate d --reason")
    vm.virsh("domblkinfo d vda; domblkinfo d --all; domblkstat d vda; domblkerror d")
    vm.virsh("domstats d; dommemstat d; iothreadinfo d; domdisplay d")
    _plugging(vm)
    _refused(vm)
    vm.virsh("shutdown d; reboot d; domstate d --reason")
    vm.virsh("destroy d; domstate d --reason; list --all")


def _plugging(vm: Vm) -> None:
    """Disks that are plugged in and out, resized and throttled; thresholds."""
    extra = vm.image("extra.qcow2")
    vm.virsh(
        f"attach-disk d {extra} sda --targetbus scsi --driver qemu --subdriver qcow2 --live;"
        " domblklist d; detach-disk d sda --live; domblklist d"
    )
    vm.virsh(f"attach-disk d {extra} vdd --driver qemu --subdriver qcow2 --live; domblklist d")
    vm.virsh("blockresize d vda 32M; domblkinfo d vda; blkdeviotune d vda")
    vm.virsh(
        "blkdeviotune d vda --total-iops-sec 100 --total-bytes-sec 1048576; blkdeviotune d vda"
    )
    vm.virsh("domblkthreshold d vda 1M; domstats d --block; blkdeviotune d vda --group-name g")


def _refused(vm: Vm) -> None:
    """What libvirt is refused, by itself or by the program."""
    nowhere = "transport='tcp' name='localhost' port='1'"
    vm.file("pull.xml", pull("/nowhere/scratch", nowhere))
    vm.file("push.xml", push("/nowhere/full.qcow2"))
    vm.file("inc.xml", push(vm.place / "i", "c7"))
    vm.virsh("backup-begin d pull.xml; backup-begin d push.xml; backup-begin d inc.xml")
    vm.virsh("checkpoint-create-as d c1; checkpoint-delete d c1; blockpull d vdc; blockjob d vda")
    vm.virsh("blockcopy d vda /nowhere/copy.qcow2 --transient-job; blockcommit d vda --active")
    vm.virsh("blockresize d vdc 17; detach-disk d vdx; qemu-monitor-command d nonsense")
    vm.virsh(f"attach-disk d /nowhere/e.qcow2 vde --live; attach-disk d {vm.place}/vda.qcow2 vda")
    vm.virsh("change-media d vda --eject; blkdeviotune d vdx; blockresize d vda 1K --capacity")
    vm.virsh("blkdeviotune d vda --total-iops-sec 1 --read-iops-sec 2; domblkthreshold d vda[9] 1")


def restarts(vm: Vm) -> None:
    """libvirtd is restarted; the program is killed; a monitor asks it to quit."""
    vm.file("inc.xml", push(vm.place / "inc.qcow2", "c1", alone=True))
    vm.start(Disk("vda"))
    vm.virsh("checkpoint-create-as d c1; snapshot-create-as d s1 --disk-only --no-metadata")
    vm.restart_libvirtd()
    vm.virsh("domstate d; domblklist d; checkpoint-dumpxml d c1 --size --no-domain")
    vm.virsh(f"blockcommit d vda --active --pivot {WAIT}; domblklist d")
    vm.kill()
    vm.virsh("domstate d --reason; start d; checkpoint-dumpxml d c1 --size --no-domain")
    vm.virsh("backup-begin d inc.xml; checkpoint-create-as d c2; checkpoint-delete d c1")
    vm.virsh("qemu-monitor-command d quit")
    # whether the answer, or the end of the connection, is seen first, is not settled in QEMU
    vm.said.pop()
    vm.until("domstate d", "shut off")
    vm.virsh("domstate d --reason")


USUAL = """<serial type='pty'/><console type='pty'/>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/></interface>
<input type='tablet' bus='usb'/><video><model type='vga'/></video>
<memballoon model='virtio'><stats period='5'/></memballoon>
<controller type='scsi' model='virtio-scsi'/>"""


def _usual(vm: Vm) -> None:
    """What most domains have besides disks; a disk is plugged in."""
    vm.virsh("domstats d --balloon; dommemstat d; setmem d 32M --live; ttyconsole d; domiflist d")
    vm.virsh("dumpxml d --xpath //channel; dumpxml d --xpath //controller; dumpxml d --xpath //rng")
    extra = vm.image("extra.qcow2")
    vm.virsh(f"attach-disk d {extra} vdx --driver qemu --subdriver qcow2 --live; domblklist d")
    vm.virsh("detach-disk d vdx; domblklist d; destroy d")


def usual_pc(vm: Vm) -> None:
    """A usual domain on a pc; media are changed before firmware could look at them."""
    vm.image("one.raw")
    vm.image("two.raw")
    vm.start(
        Disk("vda"),
        Disk("sda", "scsi"),
        Disk("hda", "ide"),
        Disk("hdc", "ide", device="cdrom", format="raw"),
        devices=USUAL,
        head="<features><acpi/></features>",
        paused=True,
    )
    vm.virsh(f"change-media d hdc {vm.place}/one.raw --insert; domblklist d")
    vm.virsh(f"change-media d hdc {vm.place}/two.raw --update; domblklist d")
    vm.virsh("change-media d hdc --eject; domblklist d; qemu-monitor-command d --hmp 'info block'")
    vm.virsh("resume d")
    _usual(vm)


def usual_q35(vm: Vm) -> None:
    """A usual domain on q35, with disks of all kinds."""
    vm.start(
        Disk("vda", driver=" cache='none' iothread='1'"),
        Disk("vdb", driver=" cache='writethrough' discard='unmap'", format="raw"),
        Disk("sda", "scsi", driver=" cache='unsafe'", more="<serial>abc</serial>"),
        Disk("sdb", "scsi", device="cdrom", format="raw"),
        Disk("sdc", "sata", more="<readonly/>", device="cdrom", format="raw"),
        Disk("sdd", "sata", driver=" cache='directsync'"),
        Disk("vdc", driver=" cache='writeback' io='threads' detect_zeroes='on'"),
        machine="q35",
        head="<iothreads>1</iothreads><features><acpi/></features>",
        devices=USUAL,
    )
    vm.virsh("domblklist d --details; iothreadinfo d; domblkinfo d --all; domstats d --block")
    vm.virsh("domstats d --iothread; domblkstat d sda; domblkerror d")
    extra = vm.image("extra.raw")
    vm.virsh(f"attach-disk d {extra} vdx --driver qemu --cache none --iothread 1 --live")
    vm.virsh("domblklist d; blkdeviotune d vdx --read-bytes-sec 4096; domblkinfo d vdx")
    another = vm.image("another.raw")
    vm.virsh(f"attach-disk d {another} sde --targetbus scsi --driver qemu --serial xyz --live")
    vm.virsh("domblklist d; detach-disk d sda; domblklist d; destroy d")


STORIES = {story.__name__: story for story in (life, restarts, usual_pc, usual_q35)}


@pytest.mark.parametrize("name", STORIES)
def test_the_same_story(libvirtd: Libvirtd, place: Path, programs: list[str], name: str) -> None:
    play(libvirtd, place, STORIES[name], programs)
