"""blockdev-reopen, and nodes that follow others, after jobs have changed the graph (C1 to C7)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.strangers import world
from tests.support.normal import normal
from tests.support.programs import qemu_missing, qmpd_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


def start(scratch: Path, *options: str, length: int = 5) -> Files:
    """Both programs, with images node0 to node4, each but the first over the one before it."""
    qcow2 = ("-f", "qcow2")
    images: dict[str, tuple[str, ...]] = {"node0": (*qcow2, "1M")}
    for number in range(1, length):
        images[f"node{number}"] = (*qcow2, "-b", f"node{number - 1}", "-F", "qcow2", "1M")
    return world.start(scratch, *options, images=images)


def chain(top: int, **more: Any) -> dict[str, Any]:
    """Options of node `top` with its whole chain inline."""
    options = {
        "driver": "qcow2",
        "node-name": f"node{top}",
        "file": {"driver": "file", "filename": f"node{top}"},
    }
    return {**options, "backing": chain(top - 1) if top else None, **more}


def run(both: Files, command: str, arguments: dict[str, Any], until: str | None = None) -> None:
    """Give both a command whose events may come in any order; compare the answers."""
    answers = []
    for program in (both.real, both.ours):
        messages = program.execute({"execute": command, "arguments": arguments})
        answers.append(messages[-1])
        while until is not None and not any(
            m.get("data", {}).get("status") == until for m in messages
        ):
            if "error" in messages[-1]:
                break
            messages.append(program.message())
    assert answers[1] == answers[0], command


def quiet(both: Files, *commands: str) -> None:
    """Compare the answers of queries, whatever else comes."""
    for command in commands:
        answers = [
            program.execute({"execute": command, "arguments": {}})[-1]
            for program in (both.real, both.ours)
        ]
        assert normal([answers[1]], str(both.scratch / "ours")) == normal(
            [answers[0]], str(both.scratch / "real")
        ), command


def test_stream_above_the_filter_of_a_commit(tmp_path: Path) -> None:
    """C1: tests 258 and 030."""
    both = start(tmp_path)
    run(both, "blockdev-add", chain(4))
    commit = {"job-id": "c", "device": "node4", "top-node": "node1", "base-node": "node0"}
    later = {"auto-finalize": False, "filter-node-name": "cf"}
    run(both, "block-commit", {**commit, **later}, "pending")
    stream = {"job-id": "s", "device": "node3", "base-node": "cf", "auto-finalize": False}
    run(both, "block-stream", stream, "pending")
    quiet(both, "query-jobs")
    both.close()


def test_stream_of_a_read_only_image_above_a_commit(tmp_path: Path) -> None:
    """C2: test 030, test_overlapping_4."""
    both = start(tmp_path)
    run(both, "blockdev-add", chain(4))
    run(both, "block-dirty-bitmap-add", {"node": "node4", "name": "b"})
    commit = {"job-id": "c", "device": "node4", "top-node": "node2", "base-node": "node0"}
    run(both, "block-commit", {**commit, "filter-node-name": "commit-filter", "speed": 1})
    run(both, "block-stream", {"job-id": "s", "device": "node4", "base-node": "node2"})
    run(both, "block-stream", {"job-id": "s", "device": "node3", "base-node": "node2"})
    both.close()


@pytest.mark.parametrize("aio", ["threads", "native", None])
def test_drive_aio_is_no_option_of_the_node(tmp_path: Path, aio: str | None) -> None:
    """C3: test 165."""
    drive = "if=none,id=d,node-name=n,file=node0,format=qcow2,readonly=on"
    drive += "" if aio is None else f",aio={aio}"
    drive += ",cache.direct=on" if aio == "native" else ""
    both = start(tmp_path, "-drive", drive, length=1)
    file = {"driver": "file", "filename": "node0"}
    options = {"driver": "qcow2", "node-name": "n", "file": file, "read-only": False}
    run(both, "blockdev-reopen", {"options": [options]})
    with_aio = {**options, "file": {**file, "aio": "threads"}}
    run(both, "blockdev-reopen", {"options": [with_aio]})
    run(both, "blockdev-reopen", {"options": [options]})
    both.close()


@pytest.mark.parametrize("child", ["file", "backing"])
@pytest.mark.parametrize("named", [False, True])
def test_node_name_of_an_inline_child(tmp_path: Path, child: str, named: bool) -> None:
    """C4: test 245, test_incorrect_parameters."""
    both = start(tmp_path, length=2)
    options = chain(1)
    if named:
        options["file"]["node-name"] = "f"
    else:
        del options["backing"]["node-name"]
    run(both, "blockdev-add", options)
    for name in ("newname", "f", "node0", "node1", ""):
        changed = {**options, child: {**options[child], "node-name": name}}
        run(both, "blockdev-reopen", {"options": [changed]})
    run(both, "blockdev-reopen", {"options": [options]})
    quiet(both, "query-named-block-nodes")
    both.close()


def test_inline_backing_after_a_stream(tmp_path: Path) -> None:
    """C5: test 245, test_block_stream_1."""
    both = start(tmp_path, length=2)
    options = chain(1)
    run(both, "blockdev-add", options)
    run(both, "block-stream", {"job-id": "s", "device": "node1"}, "null")
    run(both, "blockdev-reopen", {"options": [options]})
    run(both, "blockdev-reopen", {"options": [{**options, "backing": None}]})
    missing = {name: value for name, value in options.items() if name != "backing"}
    run(both, "blockdev-reopen", {"options": [missing]})
    quiet(both, "query-named-block-nodes")
    both.close()


def test_inline_backing_after_a_stream_to_a_base(tmp_path: Path) -> None:
    """C5: test 245, test_block_stream_2."""
    both = start(tmp_path, length=3)
    options = chain(2)
    run(both, "blockdev-add", options)
    run(both, "block-stream", {"job-id": "s", "device": "node2", "base-node": "node0"}, "null")
    run(both, "blockdev-reopen", {"options": [options]})
    run(both, "blockdev-reopen", {"options": [{**options, "backing": chain(0)}]})
    changed = {**chain(0), "detect-zeroes": "on"}
    run(both, "blockdev-reopen", {"options": [{**options, "backing": changed}]})
    missing = {name: value for name, value in options.items() if name != "backing"}
    run(both, "blockdev-reopen", {"options": [missing]})
    quiet(both, "query-named-block-nodes")
    both.close()


def test_stream_into_a_node_that_nobody_holds_any_more(tmp_path: Path) -> None:
    """C7: test 245, test_block_stream_4."""
    both = start(tmp_path, length=3)
    options = chain(2)
    run(both, "blockdev-add", options)
    stream = {"job-id": "s", "device": "node1", "filter-node-name": "cor", "auto-finalize": False}
    run(both, "block-stream", stream, "pending")
    run(both, "blockdev-reopen", {"options": [{**options, "backing": None}]})
    run(both, "job-finalize", {"id": "s"}, "null")
    quiet(both, "query-jobs", "query-named-block-nodes")
    both.close()


@pytest.mark.parametrize("aio", ["native", "threads", "io_uring"])
@pytest.mark.parametrize(
    "cache", ["", ",cache=none", ",cache=writeback", ",cache.direct=on", ",file.cache.direct=on"]
)
def test_drive_aio_needs_the_file_to_be_direct(tmp_path: Path, aio: str, cache: str) -> None:
    """C3, and what stood beside it."""
    ends = []
    real = ["qemu-system-x86_64"]
    for side, program in (("real", real), ("ours", qmpd_argv(real))):
        folder = tmp_path / side
        folder.mkdir()
        make = ["qemu-img", "create", "-q", "-f", "qcow2", "i", "1M"]
        subprocess.run(make, cwd=folder, check=True)
        drive = f"if=none,id=d,file=i,format=qcow2,aio={aio}{cache}"
        options = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
        done = subprocess.run(
            [*program, *options, "-drive", drive],
            cwd=folder,
            input='{"execute": "qmp_capabilities"}{"execute": "quit"}',
            capture_output=True,
            text=True,
            timeout=30,
        )
        ends.append((done.returncode, done.stderr.partition(": -drive")[2]))
    assert ends[1] == ends[0]
