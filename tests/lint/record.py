"""Record what clients say to the real QEMU: ``python -m tests.lint.record CLIENT FILE [PROGRAM]``.

The recordings in ``recordings`` were made by it.  libvirt starts QEMU itself: a wrapper takes the
emulator's place, puts the recorder of ``qmpd record`` before the monitor, and becomes QEMU.  The
others are pointed at the socket of a recorder.  Answers of more than `LONGEST` characters are left
out.  PROGRAM is qmpbackup's, which is in no registry.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.clients.libvirt.daemon import Libvirtd
from tests.clients.libvirt.descriptions import CHECKPOINT, pull, push
from tests.clients.libvirt.world import PROGRAMS, QEMU, WAIT, Disk, Vm
from tests.support.until import until

LONGEST: Final = 3000
QOM_GETS: Final = 3
"""How many of libvirt's questions for CPU features are kept."""

WRAPPER: Final = """\
#!{python}
import ctypes, os, signal, socket, sys, time

argv = sys.argv[1:]
monitor = next((word for word in argv if word.startswith("socket,id=charmonitor,")), None)
probe = next((word for word in argv if word.startswith("unix:") and "qmp.monitor" in word), None)
word = monitor or probe
if word is not None:
    hidden = "{place}/%d.sock" % os.getpid()
    if monitor is not None:
        fd = int(word.split("fd=")[1].split(",")[0])
        listener = socket.socket(fileno=os.dup(fd))
        argv[argv.index(word)] = "socket,id=charmonitor,path=%s,server=on,wait=off" % hidden
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(word.split(":")[1].split(",")[0])
        listener.listen()
        argv[argv.index(word)] = "unix:%s,server=on,wait=off" % hidden
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, listener.fileno())
        os.closerange(listener.fileno() + 1, 1024)
        if monitor is not None:
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        from qmpd.profile import load
        from qmpd.profile.shipped import VERSIONS
        from qmpd.server.address import UnixAddress
        from qmpd.server.proxy import Proxy
        from qmpd.sim.record.redact import Redaction, vocabulary
        from qmpd.sim.record.writer import Writer

        while not os.path.exists(hidden):
            time.sleep(0.01)
        kind = "machine" if monitor else "probe"
        file = open("{place}/%s-%d.jsonl" % (kind, os.getpid()), "w", 1)
        began = time.monotonic()
        writer = Writer(
            lambda line: file.write(line + "\\n"),
            lambda: time.monotonic() - began,
            Redaction(vocabulary(*map(load, VERSIONS))),
        )
        proxy = Proxy([listener], UnixAddress(hidden), writer, print)
        proxy.serve() if monitor else proxy.serve_one()
        os._exit(0)
os.execv("{qemu}", ["{qemu}", *argv])
"""


def libvirt(vm: Vm) -> None:
    """Checkpoints, backups, snapshots, jobs, and disks that come and go."""
    place = vm.place
    vm.file("c1.xml", CHECKPOINT.format("c1"))
    vm.file("c2.xml", CHECKPOINT.format("c2"))
    vm.file("full.xml", push(place / "full.qcow2"))
    vm.file("inc.xml", push(place / "inc.qcow2", "c1"))
    vm.start()
    vm.virsh("domblkinfo d vda; domstats d; blkdeviotune d vda --total-iops-sec 1000")
    vm.virsh("backup-begin d full.xml c1.xml")
    vm.until("domjobinfo d", "None")
    vm.virsh("backup-begin d inc.xml c2.xml")
    vm.until("domjobinfo d", "None")
    vm.virsh("checkpoint-dumpxml d c1 --size --no-domain")
    vm.file("pull.xml", pull(place / "scratch", f"transport='unix' socket='{place}/nbd'"))
    vm.virsh("backup-begin d pull.xml; domjobabort d")
    vm.until("domjobinfo d", "None")
    vm.virsh("checkpoint-delete d c1; checkpoint-delete d c2")
    vm.virsh("snapshot-create-as d s1 --disk-only --no-metadata")
    vm.virsh(f"blockcommit d vda --active --pivot {WAIT}")
    vm.virsh("snapshot-create-as d s2 --disk-only --no-metadata")
    vm.virsh(f"blockpull d vda {WAIT}")
    vm.virsh(f"blockcopy d vdb {place}/copy.qcow2 --transient-job --pivot {WAIT}")
    vm.virsh("blockresize d vdb 32M; suspend d; resume d; destroy d")


def hotplug(vm: Vm) -> None:
    """Disks and media that come and go, and jobs that are ended before their time."""
    place = vm.place
    vm.image("new.raw")
    vm.image("cd.raw")
    controller = "<controller type='scsi' model='virtio-scsi'/>"
    vm.start(Disk("vda"), Disk("sda", "sata", "raw", "cdrom"), devices=controller, machine="q35")
    vm.virsh(f"attach-disk d {place}/new.raw sdb --targetbus scsi --subdriver raw")
    vm.virsh("detach-disk d sdb")
    vm.virsh(f"change-media d sda {place}/cd.raw --insert; change-media d sda --eject")
    vm.virsh(f"blockcopy d vda {place}/copy.qcow2 --transient-job; blockjob d vda")
    vm.virsh("blockjob d vda --abort; destroy d")


def virtnbdbackup(vm: Vm) -> None:
    """A full backup, and an incremental one."""
    vm.start(Disk("vda"))
    program = [*vm._libvirtd.inside, "virtnbdbackup", "-d", "d", "-o", str(vm.place / "backup")]
    vm.run(*program, "-l", "full")
    vm.write("virtio-disk0", "write -P 3 3M 64k")
    vm.run(*program, "-l", "inc")
    vm.virsh("destroy d")


SHELL: Final = """\
query-status
query-block
blockdev-add driver=qcow2 node-name=target file.driver=file file.filename=target.qcow2
block-dirty-bitmap-add node=disk0 name=bitmap0 persistent=true
block-dirty-bitmap-add node=disk0 name=bitmap0
blockdev-backup device=disk0 job-id=job0 target=target sync=full auto-dismiss=false
query-jobs
blockdev-add driver=qcow2 node-name=target file={"driver":"file","filename":"target.qcow2"}
blockdev-backup device=disk0 job-id=job0 target=target sync=full auto-dismiss=false
query-jobs
job-dismiss id=job0
blockdev-del node-name=target
drive-backup device=disk0 job-id=job1 target=full.qcow2 sync=full format=qcow2
query-block-jobs
x-blockdev-reopen driver=qcow2 node-name=disk0
block-dirty-bitmap-remove node=disk0 name=bitmap0
device_del id=hd0
quit
"""
"""What somebody types into qmp-shell, with mistakes and impatience."""


def record_shell(place: Path, program: str) -> list[list[str]]:
    """qmp-shell, with `SHELL` typed into it."""
    (place / "typed").write_text(SHELL)
    return [["sh", "-c", f"qmp-shell {place}/client.sock < typed"]]


def record_qmpbackup(place: Path, program: str) -> list[list[str]]:
    """A full backup that is watched, an incremental one, and no bitmap left."""
    client = [sys.executable, program, "--socket", f"{place}/client.sock"]
    backup = [*client, "backup", "-t", f"{place}/backup", "-l"]
    slow = ["--speed-limit", "6291456", "--progress-interval", "1"]
    return [[*backup, "full", *slow], [*backup, "inc"], [*client, "cleanup", "--remove-bitmap"]]


DIRECT: Final[Mapping[str, Callable[[Path, str], list[list[str]]]]] = {
    "qmp-shell": record_shell,
    "qmpbackup": record_qmpbackup,
}
"""Clients that are pointed at a socket: what is run."""


def direct(client: str, place: Path, program: str) -> Path:
    """Run a client that is pointed at a socket; returns the recording."""
    for name in ("disk0", "target"):
        path = place / f"{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    write = ["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 24M", str(place / "disk0.qcow2")]
    subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
    disk = f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={place}/disk0.qcow2"
    argv = [QEMU, "-machine", "q35", "-S", "-nodefaults", "-m", "64M", "-display", "none"]
    argv += ["-qmp", f"unix:{place}/qemu.sock,server=on,wait=off", "-blockdev", disk]
    argv += ["-device", "virtio-scsi-pci,id=scsi0"]
    argv += ["-device", "scsi-hd,id=hd0,bus=scsi0.0,drive=disk0"]
    recording = place / "recording.jsonl"
    sockets = ["--listen", f"unix:{place}/client.sock", "--connect", f"unix:{place}/qemu.sock"]
    qmpd = str(Path(sys.executable).with_name("qmpd"))
    recorder = [qmpd, "record", "--redact", *sockets, str(recording)]
    qemu = subprocess.Popen(argv, cwd=place)
    until(lambda: (place / "qemu.sock").exists())
    proxy = subprocess.Popen(recorder)
    until(lambda: (place / "client.sock").exists())
    try:
        for words in DIRECT[client](place, program):
            subprocess.run(words, cwd=place, timeout=60)
    finally:
        qemu.terminate()
        qemu.wait()
        proxy.send_signal(signal.SIGINT)
        proxy.wait()
    return recording


STORIES: Final[Mapping[str, Callable[[Vm], None]]] = {
    "libvirt": libvirt,
    "libvirt-hotplug": hotplug,
    "libvirt-probe": lambda vm: None,
    "virtnbdbackup": virtnbdbackup,
}


def main(client: str, target: str, program: str = "") -> None:
    """Record a client."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        place = Path(folder)
        made = direct(client, place, program) if client in DIRECT else started(client, place)
        shutil.copy(made, target)
    shorten(Path(target))


def started(client: str, place: Path) -> Path:
    """Let libvirt start QEMU; returns the recording."""
    wrapper = place / "qemu-system-x86_64"
    wrapper.write_text(WRAPPER.format(python=sys.executable, qemu=QEMU, place=place))
    wrapper.chmod(0o755)
    (place / "daemon").mkdir()
    libvirtd = Libvirtd(place / "daemon")
    PROGRAMS["recorded"] = str(wrapper)
    vm = Vm(libvirtd, "recorded", place / "vm")
    try:
        libvirtd.virsh(f"domcapabilities --emulatorbin {wrapper}", place)
        STORIES[client](vm)
        for said in vm.said:
            print(said)
    finally:
        vm.close()
        libvirtd.close()
    kind = "probe" if client == "libvirt-probe" else "machine"
    return max(place.glob(f"{kind}-*.jsonl"), key=lambda path: path.stat().st_size)


def shorten(path: Path) -> None:
    """Leave out long answers, and requests that are repeated with nothing new in them."""
    kept, seen, dropped = [], 0, set()
    for line in path.read_text(encoding="utf-8").splitlines():
        message = json.loads(line).get("message") or {}
        if message.get("execute") == "qom-get":
            seen += 1
            if seen > QOM_GETS:
                dropped.add(message["id"])
        if message.get("id") in dropped or ("return" in message and len(line) > LONGEST):
            continue
        kept.append(line)
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
