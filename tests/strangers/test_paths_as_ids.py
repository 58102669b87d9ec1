"""T: test image-fleecing: QOM paths are taken for the ids of devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

IDS = (
    *("sda", "/machine/peripheral/sda", "sda/", "/machine/peripheral/none", "none", "/machine"),
    *("/machine/peripheral-anon/device[0]", "/machine/peripheral-anon/device[1]", "", "d"),
)
NO_LIMITS = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)


def test_ids_and_paths(tmp_path: Path) -> None:
    both = start(
        tmp_path,
        *("-machine", "pc", "-S", "-device", "virtio-scsi"),
        *("-drive", "if=none,id=d,driver=null-co", "-device", "scsi-hd,id=sda,drive=d"),
        *("-drive", "if=none,id=e,driver=null-co", "-device", "virtio-blk,drive=e"),
    )
    for name in IDS:
        line = f'qemu-io -d {name} "length"' if name else 'qemu-io -d "" "length"'
        both.execute("human-monitor-command", **{"command-line": line})
        both.execute("block_set_io_throttle", id=name, **NO_LIMITS)
        both.execute("block-latency-histogram-set", id=name, boundaries=[5])
        both.execute("blockdev-open-tray", id=name)
        both.execute("eject", id=name)
    both.close()
