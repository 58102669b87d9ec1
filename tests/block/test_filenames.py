"""Names of nodes, and what they are relative to, where other nodes lie between."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.errors import QmpError
from tests.support.machines import TestMachine

FILE = {"driver": "file", "filename": "/dir/top.qcow2"}
BELOW: dict[str, dict[str, Any]] = {
    "blkdebug": {"driver": "blkdebug", "image": FILE},
    "blkdebug with a rule": {
        "driver": "blkdebug",
        "image": FILE,
        "inject-error": [{"event": "write_aio"}],
    },
    "blkdebug on raw": {"driver": "blkdebug", "image": {"driver": "raw", "file": FILE}},
    "raw": {"driver": "raw", "file": FILE},
    "copy-on-read": {"driver": "copy-on-read", "file": FILE},
}


@pytest.fixture
def box() -> TestMachine:
    box = TestMachine()
    size = 1 << 20
    for options in (
        {"driver": "file", "filename": "/dir/base.raw", "size": size},
        {"driver": "file", "filename": "/dir/top.qcow2", "size": 0},
        {
            "driver": "qcow2",
            "file": FILE,
            "size": size,
            "backing-file": "base.raw",
            "backing-fmt": "raw",
        },
    ):
        box.execute("blockdev-create", job_id="create", options=options)
        box.execute("job-dismiss", id="create")
    return box


def _image(box: TestMachine) -> Any:
    nodes = box.execute("query-named-block-nodes")
    return next(node["image"] for node in nodes if node["node-name"] == "top")


@pytest.mark.parametrize("below", BELOW)
def test_a_backing_file_is_beside_the_file_that_holds_its_name(
    box: TestMachine, below: str
) -> None:
    box.execute("blockdev-add", driver="qcow2", node_name="top", file=BELOW[below])
    assert _image(box)["full-backing-filename"] == "/dir/base.raw"


def test_a_quorum_has_no_directory(box: TestMachine) -> None:
    quorum = {"driver": "quorum", "vote-threshold": 1, "children": [FILE]}
    with pytest.raises(QmpError) as caught:
        box.execute("blockdev-add", driver="qcow2", node_name="top", file=quorum)
    assert caught.value.desc == "Cannot generate a base directory for quorum nodes"


@pytest.mark.parametrize("below", ["blkdebug", "blkdebug on raw"])
def test_the_name_of_an_image_on_blkdebug(box: TestMachine, below: str) -> None:
    box.execute("blockdev-add", driver="qcow2", node_name="top", file=BELOW[below])
    assert _image(box)["filename"] == "blkdebug::/dir/top.qcow2"


def test_a_config_file_without_a_name(box: TestMachine) -> None:
    with pytest.raises(QmpError) as caught:
        box.execute("blockdev-add", driver="blkdebug", node_name="b", config="", image=FILE)
    reason = "No such file or directory"
    assert caught.value.desc == f"Could not read blkdebug config file: {reason}"
