"""The backend on a file while its image is opened, where the file's node heeds its parents."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files
from tests.support.versions import MEASURED

FILE: dict[str, Any] = {"driver": "file", "filename": "image"}
QCOW2: dict[str, Any] = {"driver": "qcow2", "file": FILE}
RAW: dict[str, Any] = {"driver": "raw", "file": FILE}
SHARED_WRITE = 'Failed to get shared "write" lock'
CHILDREN: dict[str, tuple[str, Any, Any, str | None]] = {
    "an image on the file and the file": ("qcow2", FILE, FILE, SHARED_WRITE),
    "a raw one": ("raw", FILE, FILE, SHARED_WRITE),
    "raw below": ("qcow2", RAW, FILE, SHARED_WRITE),
    "a raw target": ("qcow2", FILE, RAW, SHARED_WRITE),
    "an image as target": ("qcow2", FILE, QCOW2, SHARED_WRITE),
    "an image below": ("raw", QCOW2, FILE, 'Failed to get "write" lock'),
    "two files": ("qcow2", FILE, FILE | {"filename": "other"}, None),
}
"""The driver above, the children of copy-before-write, and what is said of it."""


@pytest.fixture(scope="module", params=[version for version in MEASURED if version != "5.2"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Files]:
    """Both programs, with a backup on its way; 5.2 has no copy-before-write."""
    both = Files(tmp_path_factory.mktemp("beside"), version=request.param)
    for side in ("real", "ours"):
        for name in ("image", "other"):
            command = ["qemu-img", "create", "-q", "-f", "qcow2", name, "1M"]
            subprocess.run(command, cwd=both.scratch / side, check=True)
    for node in ("source", "target"):
        both.add("null-co", node, size=1 << 20, read_zeroes=True)
    both.execute(
        "blockdev-backup", device="source", target="target", sync="none", **{"job-id": "j"}
    )
    yield both
    both.close()


@pytest.mark.parametrize("children", CHILDREN)
@pytest.mark.parametrize("named", [False, True], ids=["inside", "named"])
def test_one_file_twice(both: Files, children: str, named: bool) -> None:
    """Who opens an image finds the lock missing before the image asks for its own."""
    driver, file, target, problem = CHILDREN[children]
    below: Any = {"driver": "copy-before-write", "file": file, "target": target}
    if named and children != "an image below":
        assert both.add(**below, node="filter") == {"return": {}}
        below = "filter"
    answer = both.add(driver, "image", file=below)
    assert answer.get("error", {}).get("desc") == problem
    if problem is None:
        both.delete("image")
    if below == "filter":
        both.delete("filter")
