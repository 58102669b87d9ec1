"""Empty arguments of the human monitor's commands are given, not absent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.block.files import Files
from tests.drivers.pair import SIDES
from tests.support.programs import qemu_missing

LINES = (
    'drive_add 0 ""',
    'drive_add "" if=none',
    'drive_add 0 -n ""',
    'device_add ""',
    "device_add driver=",
    "device_add scsi-hd,id=",
    "device_add scsi-hd,bus=",
    "device_add scsi-hd,drive=",
    'device_del ""',
    'drive_del ""',
    'drive_mirror "" x',
    'drive_mirror d ""',
    'drive_mirror d x ""',
    'drive_backup d ""',
    'drive_backup d x ""',
    'snapshot_blkdev d ""',
    'snapshot_blkdev "" x',
    'snapshot_blkdev d x ""',
    'snapshot_blkdev_internal d ""',
    'snapshot_blkdev_internal "" x',
    'snapshot_delete_blkdev_internal d ""',
    'snapshot_delete_blkdev_internal d x ""',
    'block_resize "" 1',
    'block_stream ""',
    'block_stream d 0 ""',
    'block_stream d ""',
    'block_job_cancel ""',
    'block_job_set_speed "" 0',
    'block_job_pause ""',
    'block_set_io_throttle "" 0 0 0 0 0 0',
    'commit ""',
    'eject ""',
    'change cd ""',
    'change cd x ""',
    'change "" x',
    'qemu-io "" "read 0 1"',
    'qemu-io d ""',
    'qemu-io -d "" "read 0 1"',
    'qemu-io -d d "read 0 1"',
    'qom-list ""',
    'qom-get "" x',
    'qom-get /objects ""',
    'qom-set "" x y',
    'info qom-tree ""',
    'help ""',
    'p ""',
    'print ""',
    '""',
    "help nosuch",
    'help ""',
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    scratch = tmp_path_factory.mktemp("empty")
    for side in SIDES:
        (scratch / side).mkdir()
        make = ["qemu-img", "create", "-q", "-f", "qcow2", "d", "1M"]
        subprocess.run(make, cwd=scratch / side, check=True)
    both = Files(
        scratch,
        *("-machine", "pc", "-S", "-device", "virtio-scsi-pci"),
        *("-drive", "if=none,id=d,file=d,format=qcow2"),
        *("-drive", "if=none,id=cd", "-device", "scsi-cd,drive=cd"),
    )
    yield both
    both.close()


@pytest.mark.parametrize("line", LINES)
def test_empty_arguments(both: Files, line: str) -> None:
    request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    real, ours = (program.execute(request)[-1] for program in (both.real, both.ours))
    if "does not serve" not in str(ours):
        assert ours == real
