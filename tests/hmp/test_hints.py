"""Hints of errors in the human monitor: each ends its line, and no prefix loses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.block.files import Files
from tests.hmp.pc import ask_both, start_both

IMAGES = (
    "-f qcow2 locked 1M",
    "-f qcow2 -b locked -F qcow2 over",
    "-f qcow2 -b over -F qcow2 overover",
    "-f qcow2 d 1M",
    "-f qcow2 -b d -F qcow2 over-held",
)
LINES = (
    "drive_add 0 if=none,id=x,file=locked,format=qcow2",
    "drive_add 0 if=none,id=x,file=locked",
    "drive_add 0 if=none,id=x,file=locked,format=raw",
    "drive_add 0 if=none,id=x,file=over,format=qcow2",
    "drive_add 0 if=none,id=x,file=overover,format=qcow2",
    "drive_add 0 if=none,id=x,file.filename=over,driver=qcow2",
    "drive_add 0 if=none,id=x,driver=qcow2,file.driver=file,file.filename=locked",
    "drive_add 0 if=none,id=x,driver=blkdebug,image.driver=file,image.filename=locked",
    "drive_add 0 if=none,id=x,file=over,format=qcow2,snapshot=on",
    "drive_add 0 if=none,id=9,file=d",
    "drive_add 0 if=none,id=d,file=locked",
    "drive_add 0 if=nosuch",
    "drive_add 0 if=none,id=x,nosuch=1",
    "drive_add 0 if=none,id=x,driver=nosuch",
    "drive_add 0 -n node-name=x,driver=qcow2,file.driver=file,file.filename=locked",
    "drive_add 0 -n node-name=9,driver=null-co",
    "drive_mirror d locked",
    "drive_mirror -n d locked",
    "drive_mirror -n d overover qcow2",
    "drive_backup d locked",
    "drive_backup -n d locked",
    "drive_backup -n d over qcow2",
    "snapshot_blkdev d locked qcow2",
    "snapshot_blkdev -n d locked qcow2",
    "snapshot_blkdev -n d overover qcow2",
    "change cd locked qcow2",
    "change cd over qcow2",
    "change cd overover",
    "device_add nosuch",
    "device_add scsi-hd,id=9",
    "device_add scsi-hd,bus=nosuch",
    "device_add scsi-hd,drive=nosuch",
    "device_add virtio-blk-pci,drive=other,bus=nosuch/x",
    "device_add virtio-blk-pci,drive=held",
    "qemu-io d nosuch",
    'qemu-io d "reopen -r -w"',
    'qemu-io over-held "write 0 512"',
    "block_resize d 1x",
    "commit d",
    "commit over-held",
    "block_stream over-held",
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """Two files are locked by nodes that let nobody else use them."""
    both = start_both(
        tmp_path_factory.mktemp("hints"),
        IMAGES,
        *("-drive", "if=none,id=held,driver=null-co", "-device", "scsi-hd,drive=held"),
        *("-drive", "if=none,id=lock,file=locked,format=qcow2", "-device", "scsi-hd,drive=lock"),
    )
    both.add("null-co", "other")
    yield both
    both.close()


@pytest.mark.parametrize("line", LINES)
def test_hints(both: Files, line: str) -> None:
    real, ours = ask_both(both, line)
    assert ours == real
