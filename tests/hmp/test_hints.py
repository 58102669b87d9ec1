"""Hints of errors in the human monitor: each ends its line, and no prefix loses it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.block.files import Files
from tests.drivers.pair import SIDES
from tests.support.programs import qemu_missing

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
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    scratch = tmp_path_factory.mktemp("hints")
    for side in SIDES:
        (scratch / side).mkdir()
        for image in IMAGES:
            make = ["qemu-img", "create", "-q", *image.split()]
            subprocess.run(make, cwd=scratch / side, check=True)
    both = Files(
        scratch,
        *("-machine", "pc", "-S", "-device", "virtio-scsi-pci"),
        *("-drive", "if=none,id=d,file=d,format=qcow2"),
        *("-drive", "if=none,id=cd", "-device", "scsi-cd,drive=cd"),
        *("-drive", "if=none,id=held,driver=null-co", "-device", "scsi-hd,drive=held"),
        *("-drive", "if=none,id=lock,file=locked,format=qcow2", "-device", "scsi-hd,drive=lock"),
    )
    both.add("null-co", "other")
    yield both
    both.close()


@pytest.mark.parametrize("line", LINES)
def test_hints(both: Files, line: str) -> None:
    request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    real, ours = (program.execute(request)[-1] for program in (both.real, both.ours))
    assert ours == real
