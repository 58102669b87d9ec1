"""Empty arguments of the human monitor's commands are given, not absent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.block.files import Files
from tests.hmp.pc import ask_both, start_both

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
    both = start_both(tmp_path_factory.mktemp("empty"), ("-f qcow2 d 1M",))
    yield both
    both.close()


@pytest.mark.parametrize("line", LINES)
def test_empty_arguments(both: Files, line: str) -> None:
    real, ours = ask_both(both, line)
    if "does not serve" not in str(ours):
        assert ours == real
