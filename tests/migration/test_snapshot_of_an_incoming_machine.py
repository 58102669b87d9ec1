"""A machine with temporary overlays waits for a guest (QEMU's test 145)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


@pytest.mark.parametrize("read_only", ["on", "off"])
@pytest.mark.parametrize("driver", ["qcow2", "raw"])
def test_temporary_overlays_of_a_machine_that_waits(
    tmp_path: Path, read_only: str, driver: str
) -> None:
    drive = f"if=none,id=d,node-name=n,file=i,format={driver},read-only={read_only}"
    images = {"i": ("-f", driver, "1M")}
    both = start(tmp_path, "-snapshot", "-incoming", "defer", "-drive", drive, images=images)
    for program in (both.real, both.ours):
        nodes = program.execute({"execute": "query-named-block-nodes"})[-1]["return"]
        assert [node["active"] for node in nodes] == [False] * len(nodes), nodes
    both.execute("query-status")
    both.close()
