"""Command lines with drives and devices, on qmpd and on the real QEMU side by side."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.devices.boards import outcomes
from tests.support.programs import qemu_missing

RAW = "file=a.raw,format=raw"

LINES = [
    # drives of the boards
    "",
    "-machine q35",
    "-hda a.raw -cdrom b.raw",
    "-machine q35 -hdb a.raw -fda f.raw",
    "-fdb f.raw -smp 2 -vga none -serial none -machine hpet=off",
    "-device ide-cd -device floppy -parallel none",
    f"-nodefaults -drive {RAW},index=3 -drive if=ide,media=cdrom",
    f"-nodefaults -drive {RAW},index=4",
    f"-nodefaults -drive {RAW},bus=1,unit=2",
    f"-nodefaults -drive {RAW} -drive file=b.raw,format=raw,index=0",
    f"-nodefaults -machine q35 -drive {RAW},bus=1,unit=1",
    f"-nodefaults -drive {RAW},readonly=on",
    f"-nodefaults -drive {RAW},if=scsi,index=9 -drive if=sd",
    f"-nodefaults -drive {RAW},if=xen",
    f"-nodefaults -drive {RAW},if=floppy,werror=stop",
    "-nodefaults -drive if=floppy -drive if=floppy -drive if=floppy",
    f"-nodefaults -drive {RAW},if=pflash,readonly=on -drive file=b.raw,format=raw,if=pflash",
    f"-nodefaults -drive {RAW},if=pflash,unit=1",
    "-nodefaults -drive file=odd.raw,format=raw,if=pflash",
    "-nodefaults -drive file=big.raw,format=raw,if=pflash",
    f"-nodefaults -drive {RAW},if=virtio,werror=stop -device virtio-scsi-pci -device scsi-cd",
    f"-nodefaults -drive {RAW},id=x -device virtio-blk-pci,drive=x",
    "-machine none -hda a.raw -drive if=floppy",
    f"-machine none -drive {RAW},if=virtio",
    # their nodes
    "-nodefaults -snapshot -hda a.raw -drive file=b.raw,format=raw,media=cdrom,cache=none",
    f"-nodefaults -drive {RAW},if=none,snapshot=on,readonly=on,copy-on-read=on",
    f"-nodefaults -drive {RAW},if=none,cache=writethrough,cache.writeback=on,file.locking=off",
    f"-nodefaults -drive {RAW},if=none,cache.writeback=off,detect-zeroes=unmap",
    f"-nodefaults -drive {RAW},if=none,aio=native",
    f"-nodefaults -drive {RAW},if=none,file.filename=b.raw",
    f"-nodefaults -drive {RAW},if=none,throttling.nope=1",
    f"-nodefaults -drive {RAW},if=none,backing.driver=null-co",
    "-nodefaults -drive if=none,driver=null-co,nope=5",
    "-nodefaults -drive if=none,driver=null-co,size=1M,read-zeroes=yes",
    "-nodefaults -drive if=none,file.driver=null-co,file.size=1M",
    "-nodefaults -drive if=none,file=nope:x -drive if=none,file=a.raw",
    """-nodefaults -drive 'if=none,file=json:{"driver":"null-co",,"size":512}'""",
    "-nodefaults -drive if=none,driver=file -drive if=none,file=.,format=raw",
    # devices
    "-nodefaults -device virtio-scsi-pci -device scsi-cd,scsi-id=0x3,share-rw",
    "-nodefaults -device virtio-scsi-pci -device scsi-cd,opt_io_size=8G",
    "-nodefaults -device virtio-scsi-pci -device scsi-cd,logical_block_size=x",
    "-nodefaults -device virtio-scsi-pci,addr=2 -device virtio-scsi-pci,addr=2.1",
    "-nodefaults -device virtio-scsi-pci,addr=2.1 -device virtio-scsi-pci,addr=2.0",
    "-nodefaults -object iothread,id=x -device virtio-scsi-pci,iothread=x,ioeventfd=off",
    "-nodefaults -device ide-cd -device ide-cd,unit=0",
    "-nodefaults -device ide-cd,discard_granularity=1024",
    "-nodefaults -machine q35 -device ide-cd -device ide-cd",
    f"-nodefaults -drive {RAW},if=none,id=f,rerror=stop -device floppy,drive=f",
    "-nodefaults -drive if=none,id=f -device nvme,drive=f,serial=x",
    f"-nodefaults -drive {RAW},if=none,id=f -device ide-hd,drive=f -device ide-cd,drive=f",
    f"-nodefaults -drive {RAW},if=none,id=f -device qemu-xhci -device usb-storage,drive=f",
]


@pytest.mark.parametrize("line", LINES)
def test_outcome(tmp_path: Path, line: str) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    real, ours = outcomes(tmp_path, shlex.split(line))
    assert ours == real
