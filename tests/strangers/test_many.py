"""More of something than a stack is deep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


@pytest.mark.parametrize("end", ["nbd-server-stop", "quit"])
def test_many_exports_go_at_once(tmp_path: Path, end: str) -> None:
    """Each is deleted by a bottom half that runs those of the others: the newest goes first."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    for number in range(150):
        export = {"type": "nbd", "id": f"e{number}", "name": f"e{number}", "node-name": "n"}
        both.execute("block-export-add", **export)
    both.execute(end)
    both.close()
    assert both.ours.process.returncode == 0
