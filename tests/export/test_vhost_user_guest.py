"""A machine of QEMU whose disk is an export: its firmware and a boot sector read and write it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.vhost_pair import SECTOR, Exporter, running
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

PACKET = struct.pack("<BBHHHQ", 16, 0, 1, 0x8000, 0, 1)
"""Disk address packet of int 13h: one sector, to 0000:8000, of sector 1."""

CODE = bytes.fromhex(
    "31c0"  # xor ax, ax
    "8ed8"  # mov ds, ax
    "8ec0"  # mov es, ax
    "8ed0"  # mov ss, ax
    "bc007c"  # mov sp, 0x7c00
    "be807c"  # mov si, 0x7c80      the packet
    "b442"  # mov ah, 0x42        extended read
    "cd13"  # int 0x13            dl is still the drive that was booted from
    "721f"  # jc failed
    "b90002"  # mov cx, 512
    "bf0080"  # mov di, 0x8000
    "f615"  # invert: not byte [di]
    "47"  # inc di
    "e2fb"  # loop invert
    "c606887c02"  # mov byte [0x7c88], 2     the packet's sector
    "be807c"  # mov si, 0x7c80
    "b80043"  # mov ax, 0x4300      extended write
    "cd13"  # int 0x13
    "7205"  # jc failed
    "b010"  # mov al, 0x10
    "e6f4"  # out 0xf4, al        the machine ends, status 0x21
    "f4"  # hlt
    "b011"  # failed: mov al, 0x11
    "e6f4"  # out 0xf4, al        status 0x23
    "f4"  # hlt
)
"""Reads sector 1, writes what is in it to sector 2, inverted, and ends the machine."""

BOOT = (CODE.ljust(0x80, b"\0") + PACKET).ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[list[Exporter]]:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    with running(tmp_path) as made:
        yield made


def boot(exporter: Exporter, *options: str) -> int:
    """Run the machine; its status."""
    argv = [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-m", "64M"),
        *("-machine", "pc,memory-backend=m,accel=tcg"),
        *("-object", "memory-backend-memfd,id=m,size=64M,share=on"),
        *("-chardev", f"socket,path={exporter.folder}/v.sock,id=c"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *("-device", ",".join(("vhost-user-blk-pci,chardev=c,bootindex=0", *options))),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.returncode


@pytest.mark.parametrize("queues", [1, 2])
def test_a_boot_sector(daemons: list[Exporter], queues: int) -> None:
    message = bytes(range(256)) * 2
    contents = []
    for exporter in daemons:
        exporter.image.write_bytes((BOOT + message).ljust(4 << 20, b"\0"))
        exporter.do("block-dirty-bitmap-add", node="n", name="b", granularity=512)
        assert exporter.export(num_queues=queues) == {}
        assert boot(exporter, f"num-queues={queues}") == 0x21
        contents.append(exporter.image.read_bytes())
        [node] = [n for n in exporter.do("query-named-block-nodes") if n["node-name"] == "n"]
        assert node["dirty-bitmaps"][0]["count"] == SECTOR
    written = bytes(255 - byte for byte in message)
    assert contents[0][: 3 * SECTOR] == BOOT + message + written
    assert contents[0] == contents[-1]


def test_a_read_only_disk(daemons: list[Exporter]) -> None:
    """The write is refused, the guest is told so, and can read all the same."""
    exporter = daemons[0]
    exporter.image.write_bytes(BOOT.ljust(4 << 20, b"\0"))
    exporter.export(writable=False)
    assert boot(exporter) == 0x23
    assert exporter.image.read_bytes()[SECTOR:] == bytes((4 << 20) - SECTOR)
