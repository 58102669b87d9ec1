"""Jobs that need next to no I/O in 5.2, where nothing comes between a command and its answer.

In later versions either may be first: `tests/differential/test_legal_orders.py` has those.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.event_text import event_text
from tests.support.normal import normal

VERSION = "5.2"
JOBS: dict[str, dict[str, Any]] = {
    "blockdev-mirror": {"device": "top", "target": "target", "sync": "top"},
    "block-commit": {"device": "top"},
    "block-stream": {"device": "top"},
    "blockdev-backup": {"device": "top", "target": "target", "sync": "top"},
}


@pytest.mark.parametrize("command", JOBS)
def test_what_comes_before_the_answer(command: str, tmp_path: Path) -> None:
    both = Files(tmp_path, version=VERSION)
    try:
        for side in ("real", "ours"):
            for image in ("base 1M", "target 1M", "-b base -F qcow2 top"):
                make = ["qemu-img", "create", "-q", "-f", "qcow2", *image.split()]
                subprocess.run(make, cwd=tmp_path / side, check=True)
        for name in ("top", "target"):
            both.add("qcow2", name, file={"driver": "file", "filename": name})
        request = {"execute": command, "arguments": {"job-id": "job", **JOBS[command]}}
        said = []
        for program in (both.real, both.ours):
            *events, answer = program.execute(request)
            said.append([*map(event_text, events), normal(answer)])
        assert said[1] == said[0]
        assert said[0][-1] == normal({"return": {}})
    finally:
        both.close()
