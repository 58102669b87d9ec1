"""What libvirt thinks of qmpd is what it thinks of the real QEMU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd
from tests.clients.libvirt.world import PROGRAMS
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


@pytest.mark.parametrize("machine", ["pc", "q35", "pc-i440fx-7.2"])
def test_domcapabilities(libvirtd: Libvirtd, place: Path, machine: str) -> None:
    said = {}
    for name, path in PROGRAMS.items():
        done = libvirtd.virsh(f"domcapabilities --emulatorbin {path} --machine {machine}", place)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout.replace(path, "EMULATOR")
    assert said["qmpd"] == said["qemu"]


def test_what_libvirt_keeps_of_the_answers(libvirtd: Libvirtd) -> None:
    kept = {}
    flags = {}
    for path in (libvirtd.place / "var/cache/libvirt/qemu/capabilities").glob("*.xml"):
        text = path.read_text()
        for name, program in PROGRAMS.items():
            if f"<emulator>{program}</emulator>" in text:
                flags[name] = set(re.findall(r"<flag name='(.*?)'/>", text))
                text = re.sub(r"\s*<(flag name|emulator|qemuctime|selfctime|package).*", "", text)
                kept[name] = text
    assert kept["qmpd"] == kept["qemu"]
    assert flags["qmpd"] == flags["qemu"]


def test_cpus(libvirtd: Libvirtd, place: Path) -> None:
    said = {}
    for name, path in PROGRAMS.items():
        script = f"hypervisor-cpu-models --emulator {path} --virttype qemu --all;"
        script += " cpu-models x86_64; maxvcpus qemu"
        done = libvirtd.virsh(script, place)
        said[name] = (done.returncode, done.stdout, done.stderr.replace(path, "EMULATOR"))
    assert said["qmpd"] == said["qemu"]
