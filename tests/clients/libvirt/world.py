"""One body, played by libvirt on qmpd and on the real QEMU: what virsh prints, what is sent."""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.clients.libvirt.daemon import Libvirtd

QEMU: Final = "/usr/bin/qemu-system-x86_64"
QMPD: Final = str(Path(sys.executable).with_name("qmpd-system"))
PROGRAMS: Final = {"qmpd": QMPD, "qemu": QEMU}

_VARYING: Final = (
    # times and amounts of work, and what a guest's firmware reads
    (r"\b(cpu|vcpu)(\.\d+)?\.(time|user|system|wait|delay)=\d+", r"\1\2.\3=N"),
    (r"\b(balloon\.rss|block\.\d+\.\w+\.(reqs|bytes|times))=\d+", r"\1=N"),
    (r"\b(fl|rd|wr)_(req|bytes|total_times) \d+", r"\1_\2 N"),
    (r"(\nCPU: +)\d+", r"\1N"),
    (r"\b\d\d\.\d\d sec", "N sec"),
    (r"\(\d[\d.]* [KMG]iB/sec and [\d.]+ ops/sec\)", "(N)"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000", "DATE"),
    (r"/channel/\d+-d/", "/channel/N-d/"),
    (r"/dev/pts/\d+", "/dev/pts/N"),
    (r"CPU time: +[\d.]+s\n", ""),
    (r"\brss \d+", "rss N"),
    (r"\nId: +\d+", ""),
    (r"(Time elapsed:) +\d+ +ms", r"\1 N ms"),
    (r"\b\d{10}\b", "TIME"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"(tcp:|localhost:|port=['\"])\d+", r"\1PORT"),
)


class Said(NamedTuple):
    """What a command of virsh's has ended with."""

    command: str
    status: int
    out: str
    err: str


class Disk(NamedTuple):
    """A disk of a domain.

    :param bus: virtio, scsi, ide, sata
    :param driver: further attributes of its ``<driver>``
    :param more: further elements
    """

    target: str
    bus: str = "virtio"
    format: str = "qcow2"
    device: str = "disk"
    driver: str = ""
    more: str = ""


class Vm:
    """A domain called ``d`` on one of the programs, in a directory of its own.

    :param place: an empty directory, which images of the disks are made in
    :param name: the name of the program
    """

    def __init__(self, libvirtd: Libvirtd, name: str, place: Path) -> None:
        self._libvirtd = libvirtd
        self.program = name
        self.place = place
        place.mkdir()
        self.said: list[Said] = []

    def image(self, name: str, *options: str) -> Path:
        """Make an image of 16 MiB, unless `options` of ``qemu-img create`` end with a size."""
        path = self.place / name
        words = ["qemu-img", "create", "-q", "-f", path.suffix[1:], *options[:-1], str(path)]
        subprocess.run([*words, options[-1] if options else "16M"], cwd=self.place, check=True)
        return path

    def file(self, name: str, text: str) -> None:
        """Write a file that commands of virsh's are given."""
        (self.place / name).write_text(text)

    def write(self, where: str, command: str) -> None:
        """Let the guest write: a command of qemu-io, on a disk by its alias."""
        self.hmp(f'qemu-io -d /machine/peripheral/{where}/virtio-backend "{command}"')

    def hmp(self, line: str) -> str:
        """A line of the human monitor."""
        return self.virsh(f"qemu-monitor-command d --hmp '{line}'")

    def define(
        self,
        *disks: Disk,
        machine: str = "pc",
        head: str = "",
        devices: str = "<controller type='usb' model='none'/><memballoon model='none'/>",
    ) -> str:
        """Write ``d.xml``, the description of the domain; returns it."""
        text = "".join(self._disk(disk) for disk in disks)
        xml = (
            "<domain type='qemu'><name>d</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>"
            f"<uuid>6a1f6b4c-0d6c-4f0e-9c3b-1f2a3b4c5d6e</uuid>{head}"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
            f"<devices><emulator>{PROGRAMS[self.program]}</emulator>{text}{devices}"
            "</devices></domain>"
        )
        (self.place / "d.xml").write_text(xml)
        return xml

    def _disk(self, disk: Disk) -> str:
        source = self.place / f"{disk.target}.{disk.format}"
        if not source.exists() and "<source" not in disk.more and disk.device == "disk":
            self.image(source.name)
        shown = f"<source file='{source}'/>" if source.exists() else ""
        return (
            f"<disk type='file' device='{disk.device}'>"
            f"<driver name='qemu' type='{disk.format}'{disk.driver}/>{shown}"
            f"<target dev='{disk.target}' bus='{disk.bus}'/>{disk.more}</disk>"
        )

    def start(self, *disks: Disk, paused: bool = False, **options: Any) -> None:
        """Define the domain for good, and start it."""
        self.define(*disks or (Disk("vda"), Disk("vdb")), **options)
        self.virsh("define d.xml; start d" + " --paused" * paused)

    def virsh(self, script: str) -> str:
        """Run commands of virsh's; returns what it prints."""
        done = self._libvirtd.virsh(script, self.place)
        self.said.append(
            Said(
                self._plain(script),
                done.returncode,
                self._plain(done.stdout),
                self._plain(done.stderr),
            )
        )
        return done.stdout

    def restart_libvirtd(self) -> None:
        """Another libvirtd finds the running domain."""
        self._libvirtd.stop()
        self._libvirtd.start()

    def kill(self) -> None:
        """End the domain's process at once, and wait until libvirt has seen it."""
        os.kill(int((self._libvirtd.run / "d.pid").read_text()), signal.SIGKILL)
        self.until("domstate d", "shut off")

    def until(self, script: str, end: str) -> None:
        """Ask virsh again and again until it prints `end`, and keep quiet about it."""
        deadline = time.monotonic() + 60
        while end not in (said := self._libvirtd.virsh(script, self.place)).stdout:
            assert "failed to connect" not in said.stderr, said
            assert time.monotonic() < deadline, f"{script}: {said}"
            time.sleep(0.02)

    def mount(self, name: str, size: str) -> Path:
        """A directory that holds no more than `size`, where the domain's program is."""
        path = self.place / name
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        subprocess.run([*self._libvirtd.inside, *mount], check=True)
        return path

    def note(self, what: str, value: Any) -> None:
        """Something else that both programs have to agree on."""
        self.said.append(Said(what, 0, self._plain(json.dumps(value)), ""))

    def run(self, *words: str) -> None:
        """Run another program; what it prints is compared, too."""
        done = subprocess.run(
            words, cwd=self.place, capture_output=True, text=True, timeout=120, check=False
        )
        out, err = self._plain(done.stdout), self._plain(done.stderr)
        self.said.append(Said(self._plain(" ".join(words)), done.returncode, out, err))

    def _plain(self, text: str) -> str:
        text = text.replace(str(self.place), "DIR").replace(PROGRAMS[self.program], "EMULATOR")
        for pattern, instead in _VARYING:
            text = re.sub(pattern, instead, text)
        return text

    def requests(self) -> list[str]:
        """What libvirt has sent, one request to a line, without the questions of its polls."""
        return [
            self._plain(json.dumps(request))
            for request in self._libvirtd.requests()
            if request["execute"] not in _POLLED
        ]

    def close(self) -> None:
        """Leave nothing behind."""
        names = "checkpoint-list d --name"
        for name in self._libvirtd.virsh(names, self.place).stdout.split():
            self._libvirtd.virsh(f"checkpoint-delete d {name} --metadata", self.place)
        script = "destroy d; undefine d --snapshots-metadata --checkpoints-metadata"
        self._libvirtd.virsh(script, self.place)


WAIT: Final = "--wait"
"""What has a command of virsh's return when its job is over."""

_POLLED: Final = frozenset({"query-block-jobs", "query-jobs"})
"""How often these are asked depends on how fast jobs are."""

Story = Callable[[Vm], None]


class Pair(NamedTuple):
    """A story as both programs have told it."""

    qmpd: Vm
    qemu: Vm
    sent: dict[str, list[str]]


def play(libvirtd: Libvirtd, place: Path, story: Story, programs: Sequence[str]) -> None:
    """Play a story on each program, and compare.

    :raises AssertionError: virsh has printed something else, or libvirt has sent something else
    """
    said: dict[str, list[Said]] = {}
    sent: dict[str, list[str]] = {}
    for name in programs:
        vm = Vm(libvirtd, name, place / name)
        libvirtd.requests()
        try:
            story(vm)
        finally:
            said[name] = vm.said
            sent[name] = vm.requests()
            vm.close()
    first = programs[0]
    for name in programs[1:]:
        assert _differences(said[name], said[first]) == ""
        assert _differences(sent[name], sent[first]) == ""


def _differences(theirs: Sequence[object], ours: Sequence[object]) -> str:
    left, right = [*map(str, theirs)], [*map(str, ours)]
    return "\n".join(difflib.unified_diff(left, right, "QEMU", "qmpd", lineterm="", n=1))
