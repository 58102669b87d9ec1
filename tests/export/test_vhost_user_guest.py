"""A machine of QEMU whose disk is an export: its firmware and a boot sector read and write it."""

from __future__ import annotations

import os
import select
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.vhost_client import OUT
from tests.export.vhost_pair import SECTOR, Exporter, running
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram

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

TELL = bytes.fromhex(
    "b052"  # mov al, 'R'
    "e6e9"  # out 0xe9, al
)
"""Put in front of the read, once: tells the debug console that it runs."""

WAIT = bytes.fromhex(
    "803e0080aa"  # cmp byte [0x8000], 0xaa
    "75f0"  # jne 14 back: mov si, 0x7c80
)
"""Put behind the read: reads again until the sector begins with AA."""


def sector(code: bytes) -> bytes:
    """A boot sector."""
    return (code.ljust(0x80, b"\0") + PACKET).ljust(510, b"\0") + b"\x55\xaa"


BOOT = sector(CODE)


def waiting() -> bytes:
    """The boot sector with `TELL` and `WAIT` in it."""
    # The jump behind the read has `WAIT` to skip as well.
    failed = bytes([CODE[0x12], CODE[0x13] + len(WAIT)])
    return sector(CODE[:0x0B] + TELL + CODE[0x0B:0x12] + failed + WAIT + CODE[0x14:])


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[list[Exporter]]:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    with running(tmp_path) as made:
        yield made


def command_line(exporter: Exporter, *options: str) -> list[str]:
    """The machine."""
    return [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-m", "64M"),
        *("-machine", "pc,memory-backend=m,accel=tcg"),
        *("-object", "memory-backend-memfd,id=m,size=64M,share=on"),
        *("-chardev", f"socket,path={exporter.folder}/v.sock,id=c"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        *("-device", ",".join(("vhost-user-blk-pci,chardev=c,bootindex=0", *options))),
    ]


def boot(exporter: Exporter, *options: str) -> int:
    """Run the machine; its status."""
    argv = command_line(exporter, *options)
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


class Console:
    """The debug console of a guest, through a pipe.

    :param path: what the pipe's ends are called, without their suffixes
    """

    def __init__(self, path: Path) -> None:
        self.options = ["-chardev", f"pipe,path={path},id=d", "-device", "isa-debugcon,chardev=d"]
        os.mkfifo(f"{path}.in")
        os.mkfifo(f"{path}.out")
        self._fd = os.open(f"{path}.out", os.O_RDWR)

    def wait(self) -> None:
        """Wait until the boot sector tells that it runs."""
        assert select.select([self._fd], [], [], 30)[0], "the guest does not boot"
        assert os.read(self._fd, 1) == b"R"

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._fd)


def test_stops_and_resets(daemons: list[Exporter], tmp_path: Path) -> None:
    """Queues are stopped and started again while the guest reads without end."""
    contents = []
    for number, exporter in enumerate(daemons):
        exporter.image.write_bytes(waiting().ljust(4 << 20, b"\0"))
        exporter.export()
        exporter.export("w")
        folder = tmp_path / f"guest{number}"
        folder.mkdir()
        console = Console(folder / "console")
        machine = StdioProgram([*command_line(exporter), *console.options, "-qmp", "stdio"], folder)
        try:
            machine.message()
            machine.execute({"execute": "qmp_capabilities"})
            for command in ("stop", "cont", "system_reset", "stop", "cont", "system_reset"):
                if command == "stop":
                    console.wait()
                assert machine.execute({"execute": command})[-1] == {"return": {}}
            console.wait()
            client = exporter.start("w")
            assert client.request(OUT, 1, b"\xaa" * SECTOR).status == 0
            assert machine.process.wait(60) == 0x21
        finally:
            machine.close()
            console.close()
        contents.append(exporter.image.read_bytes()[: 3 * SECTOR])
    assert contents[0][SECTOR:] == b"\xaa" * SECTOR + b"\x55" * SECTOR
    assert contents[0] == contents[-1]
