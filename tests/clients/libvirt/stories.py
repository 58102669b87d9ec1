"""What people do with a domain, in virsh's words."""

from __future__ import annotations

from tests.clients.libvirt.world import Disk, Vm

WAIT = "--wait"


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
    (vm.place / "pull.xml").write_text(
        PULL.format("", "transport='tcp' name='localhost' port='1'", "", "/nowhere/scratch")
    )
    (vm.place / "push.xml").write_text(FULL.format("/nowhere/full.qcow2"))
    (vm.place / "inc.xml").write_text(
        FULL.format(vm.place / "i").replace("<disks>", "<incremental>c7</incremental><disks>")
    )
    vm.virsh("backup-begin d pull.xml; backup-begin d push.xml; backup-begin d inc.xml")
    vm.virsh("checkpoint-create-as d c1; checkpoint-delete d c1; blockpull d vdc; blockjob d vda")
    vm.virsh("blockcopy d vda /nowhere/copy.qcow2 --transient-job; blockcommit d vda --active")
    vm.virsh("blockresize d vdc 17; detach-disk d vda; qemu-monitor-command d nonsense")
    vm.virsh("blkdeviotune d vda --total-iops-sec 1 --read-iops-sec 2; domblkthreshold d vda[9] 1")


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


FULL = """<domainbackup><disks>
<disk name='vda' type='file'><driver type='qcow2'/><target file='{}'/></disk>
<disk name='vdb' backup='no'/></disks></domainbackup>"""
CHECKPOINT = "<domaincheckpoint><name>{}</name></domaincheckpoint>"
PULL = """<domainbackup mode='pull'>{}<server {}/><disks>
<disk name='vda' type='file'{}><scratch file='{}'/></disk>
<disk name='vdb' backup='no'/></disks></domainbackup>"""


def backup(vm: Vm) -> None:
    """Push and pull, full and incremental, over unix and TCP, with readers, and ended."""
    place = vm.place
    (place / "c1.xml").write_text(CHECKPOINT.format("c1"))
    (place / "c2.xml").write_text(CHECKPOINT.format("c2"))
    (place / "full.xml").write_text(FULL.format(place / "full.qcow2"))
    inc = FULL.format(place / "inc.qcow2").replace(
        "<disks>", "<incremental>c1</incremental><disks>"
    )
    (place / "inc.xml").write_text(inc)
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
    (place / "pull.xml").write_text(PULL.format("", unix, "", place / "scratch"))
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
    incremental = "<incremental>c1</incremental>"
    (place / "pull2.xml").write_text(PULL.format(incremental, tcp, bitmap, place / "scratch2"))
    vm.virsh("backup-begin d pull2.xml; backup-dumpxml d")
    vm.virsh("backup-begin d pull.xml; checkpoint-create-as d c9; domjobabort d")
    vm.until("domjobinfo d", "None")
    vm.virsh("destroy d")


def restarts(vm: Vm) -> None:
    """libvirtd is restarted; the program is killed; a monitor asks it to quit."""
    vm.start()
    vm.virsh("checkpoint-create-as d c1; snapshot-create-as d s1 --disk-only --no-metadata")
    vm.restart_libvirtd()
    vm.virsh("domstate d; domblklist d; checkpoint-dumpxml d c1 --size --no-domain")
    vm.virsh(f"blockcommit d vda --active --pivot {WAIT}; domblklist d")
    vm.kill()
    vm.virsh("domstate d --reason; start d; checkpoint-dumpxml d c1 --size --no-domain")
    vm.virsh("checkpoint-create-as d c2; checkpoint-delete d c1")
    vm.virsh("qemu-monitor-command d quit")
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
        Disk("sdd", "sata"),
        machine="q35",
        head="<iothreads>1</iothreads><features><acpi/></features>",
        devices=USUAL,
    )
    vm.virsh("domblklist d --details; iothreadinfo d; domblkinfo d --all; domstats d --block")
    vm.virsh("domstats d --iothread")
    _usual(vm)


STORIES = {
    story.__name__: story
    for story in (
        life,
        chains,
        internal,
        checkpoints,
        backup,
        restarts,
        usual_pc,
        usual_q35,
    )
}
