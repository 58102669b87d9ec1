"""A guest of the real QEMU that has nothing but virtio disks: it drives them by qtest.

The devices are used as the public virtio specification describes the legacy interface: I/O ports
in BAR 0, one split virtqueue of 256 entries, descriptors written into the guest's memory.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import Final

from tests.support.stdio import StdioProgram

READ, WRITE, FLUSH, DISCARD, WRITE_ZEROES = 0, 1, 4, 11, 13

KINDS: Final = {
    "pread": READ,
    "pwrite": WRITE,
    "pwrite_zeroes": WRITE_ZEROES,
    "pdiscard": DISCARD,
    "flush": FLUSH,
}
"""What virtio calls the operations."""

_FEATURES: Final = 1 << 9 | 1 << 13 | 1 << 14
"""FLUSH, DISCARD and WRITE_ZEROES."""
_ENTRIES: Final = 256
_NEXT, _WRITABLE = 1, 2
_PENDING: Final = 0xFF


class Qtest:
    """The qtest channel of a program: its guest's ports and memory.

    :param path: the unix socket where the program listens
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 20
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline
        self._lines = self._socket.makefile("rb")

    def ask(self, line: str) -> str:
        self._socket.sendall(line.encode() + b"\n")
        answer = self._lines.readline().decode().split()
        assert answer[0] == "OK", answer
        return answer[1] if len(answer) > 1 else ""

    def out(self, size: str, port: int, value: int) -> None:
        self.ask(f"out{size} {port:#x} {value:#x}")

    def in_(self, size: str, port: int) -> int:
        return int(self.ask(f"in{size} {port:#x}"), 16)

    def poke(self, address: int, data: bytes) -> None:
        self.ask(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def peek(self, address: int, length: int) -> bytes:
        return bytes.fromhex(self.ask(f"read {address:#x} {length:#x}")[2:])

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Virtio:
    """A virtio PCI device, as its guest's driver; one request at a time.

    :param slot: its PCI slot on bus 0
    :param features: those that the driver knows
    :param queue: number of the virtqueue for requests
    """

    def __init__(self, qtest: Qtest, slot: int, features: int, queue: int) -> None:
        self._qtest = qtest
        self._queue = queue
        self._ports = 0xC000 + slot * 0x100
        self._ring = (1 << 20) + slot * 0x10000
        self._data = (4 << 20) + slot * 0x20000
        self._asked = 0
        self._answer = (0, 0)
        self._configure(slot, 0x10, self._ports)
        self._configure(slot, 0x04, 0x5)
        qtest.out("b", self._ports + 0x12, 0)
        qtest.out("b", self._ports + 0x12, 3)
        qtest.out("l", self._ports + 0x04, qtest.in_("l", self._ports) & features)
        qtest.out("w", self._ports + 0x0E, queue)
        assert qtest.in_("w", self._ports + 0x0C) == _ENTRIES
        qtest.out("l", self._ports + 0x08, self._ring >> 12)
        qtest.out("b", self._ports + 0x12, 7)

    def _configure(self, slot: int, register: int, value: int) -> None:
        self._qtest.out("l", 0xCF8, 0x80000000 | slot << 11 | register)
        self._qtest.out("l", 0xCFC, value)

    def submit(self, parts: list[bytes | int], answer: int) -> None:
        """Hand in a request.

        :param parts: bytes that the device reads, then lengths of what it writes
        :param answer: which of them is the answer
        """
        at = self._data
        for number, part in enumerate(parts):
            size = part if isinstance(part, int) else len(part)
            flag = _WRITABLE if isinstance(part, int) else 0
            if isinstance(part, int):
                self._qtest.poke(at, bytes([_PENDING]) * part)
            else:
                self._qtest.poke(at, part)
            if number == answer:
                self._answer = (at, size)
            more = _NEXT if number < len(parts) - 1 else 0
            entry = struct.pack("<QIHH", at, size, flag | more, number + 1)
            self._qtest.poke(self._ring + 16 * number, entry)
            at += 0x2000
        available = self._ring + 16 * _ENTRIES
        self._qtest.poke(available + 4 + 2 * (self._asked % _ENTRIES), struct.pack("<H", 0))
        self._asked += 1
        self._qtest.poke(available + 2, struct.pack("<H", self._asked))
        self._qtest.out("w", self._ports + 0x10, self._queue)

    def answer(self) -> bytes | None:
        """The answer to the request; None: it is under way."""
        used = self._ring + 16 * _ENTRIES + 4096
        if struct.unpack("<H", self._qtest.peek(used + 2, 2))[0] != self._asked:
            return None
        return self._qtest.peek(*self._answer)


class VirtioDisk:
    """A virtio-blk-pci device."""

    def __init__(self, qtest: Qtest, slot: int) -> None:
        self._device = Virtio(qtest, slot, _FEATURES, 0)

    def begin(self, operation: str, offset: int, length: int) -> None:
        """Hand a request to the device; offset and length are in bytes."""
        kind = KINDS[operation]
        sector, count = offset // 512, length // 512
        header = struct.pack("<IIQ", kind, 0, sector if kind in (READ, WRITE) else 0)
        body: list[bytes | int] = []
        if kind == WRITE:
            body = [b"x" * length]
        elif kind == READ:
            body = [length]
        elif kind in (DISCARD, WRITE_ZEROES):
            body = [struct.pack("<QII", sector, count, 0)]
        self._device.submit([header, *body, 1], 1 + len(body))

    def status(self) -> int | None:
        """What has become of the request: 0, or 1 for a failure; None: it is under way."""
        answer = self._device.answer()
        return None if answer is None else answer[0]


class ScsiBus:
    """A virtio-scsi-pci adapter."""

    def __init__(self, qtest: Qtest, slot: int) -> None:
        self._device = Virtio(qtest, slot, 0, 2)

    def submit(self, target: int, command: bytes, out: bytes, length: int) -> None:
        """Hand in a command for a disk, with bytes to it, or room for bytes from it."""
        lun = bytes([1, target, 0x40, 0, 0, 0, 0, 0])
        header = struct.pack("<8sQBBB32s", lun, 0, 0, 0, 0, command)
        parts: list[bytes | int] = [header]
        if out:
            parts.append(out)
        answer = len(parts)
        parts.append(108)
        if length:
            parts.append(length)
        self._device.submit(parts, answer)

    def status(self) -> int | None:
        """0, or 1 for a failure; None: it is under way."""
        answer = self._device.answer()
        if answer is None:
            return None
        return 0 if answer[10] == 0 and answer[11] == 0 else 1


class ScsiDisk:
    """A scsi-hd device on such an adapter.

    :param target: its SCSI id
    """

    def __init__(self, bus: ScsiBus, target: int) -> None:
        self._bus = bus
        self._target = target
        status: int | None = 1
        while status:  # the first command is told that there was a reset
            bus.submit(target, bytes(6), b"", 0)
            while (status := bus.status()) is None:
                pass

    def begin(self, operation: str, offset: int, length: int) -> None:
        """Hand a request to the disk; offset and length are in bytes."""
        sector, count = offset // 512, length // 512
        ten = struct.pack(">BIBHB", 0, sector, 0, count, 0)
        if operation == "pread":
            self._bus.submit(self._target, b"\x28" + ten, b"", length)
        elif operation == "pwrite":
            self._bus.submit(self._target, b"\x2a" + ten, b"x" * length, 0)
        elif operation == "pwrite_zeroes":  # WRITE SAME of a block of zeroes
            self._bus.submit(self._target, b"\x41" + ten, bytes(512), 0)
        elif operation == "flush":
            self._bus.submit(self._target, b"\x35" + bytes(9), b"", 0)
        else:
            area = struct.pack(">HHIQII", 22, 16, 0, sector, count, 0)
            command = b"\x42" + struct.pack(">BIBHB", 0, 0, 0, len(area), 0)
            self._bus.submit(self._target, command, area, 0)

    def status(self) -> int | None:
        """What has become of the request: 0, or 1 for a failure; None: it is under way."""
        return self._bus.status()


def start_guest(scratch: Path) -> tuple[StdioProgram, Qtest]:
    """A QEMU whose guest is driven by qtest, past negotiation."""
    path, firmware = scratch / "qtest", scratch / "firmware"
    code = bytearray(b"\xf4" * 65536)
    code[-16:-12] = b"\xfa\xf4\xeb\xfd"  # the first instructions: cli, hlt, jmp to hlt
    firmware.write_bytes(code)
    options = ["-machine", "pc", "-accel", "tcg", "-m", "16M", "-nodefaults", "-display", "none"]
    options += ["-bios", str(firmware)]
    options += ["-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "none"]
    program = StdioProgram(["qemu-system-x86_64", *options, "-qmp", "stdio"], scratch)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    return program, Qtest(path)
