"""Kinds of fault of jobs, on chains and off them, that QEMU's own block tests have shown.

The letters are those of the list by which they were found; the comments name QEMU's tests.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

QCOW2 = ("-f", "qcow2", "1M")
OVER = ("-f", "qcow2", "-b", "base", "-F", "qcow2", "1M")
CHAIN = {"base": QCOW2, "mid": ("-f", "qcow2", "-b", "base", "-F", "qcow2", "1M")}


def test_commit_of_a_drive_that_a_device_uses(tmp_path: Path) -> None:
    """J: tests 274 and 130."""
    images = {"base": QCOW2, "top": OVER}
    options = ("-S", "-machine", "pc", "-drive", "if=virtio,id=d,file=top,format=qcow2")
    both = start(tmp_path, *options, images=images)
    both.io("d", "write -P 1 0 64k")
    both.execute("human-monitor-command", **{"command-line": "commit d"})
    both.io("d", "read -P 1 0 64k")
    both.execute("query-blockstats")
    both.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_stream_of_an_image_that_is_only_read_holds_its_chain(
    tmp_path: Path, read_only: bool
) -> None:
    """C2: test 030."""
    chain = ["base", "low", "mid", "high", "top"]
    images: dict[str, tuple[str, ...]] = {"base": QCOW2}
    for lower, name in itertools.pairwise(chain):
        images[name] = ("-f", "qcow2", "-b", lower, "-F", "qcow2", "1M")
    both = start(tmp_path, images=images)
    below: str | None = None
    for name in chain:
        both.add(
            "qcow2",
            name,
            file={"driver": "file", "filename": name},
            backing=below,
            read_only=read_only and name == "high",
        )
        below = name
    both.io("mid", "write -P 1 0 64k")
    commit = {"job-id": "c", "filter-node-name": "filter", "auto-finalize": False}
    _answer(
        both, "block-commit", device="top", **commit, **{"top-node": "mid", "base-node": "base"}
    )
    for base in ("mid", "filter", "low"):
        stream = {"job-id": "s", "base-node": base, "auto-finalize": False}
        _answer(both, "block-stream", device="high", **stream)
    both.close()


def _answer(both: Files, command: str, **arguments: Any) -> None:
    """As `Files.execute`, but events come when they like."""
    request = {"execute": command, "arguments": arguments}
    real, ours = (program.execute(request)[-1] for program in (both.real, both.ours))
    assert ours == real, request


def test_blockstats_of_a_chain_leaves_out_implicit_filters(tmp_path: Path) -> None:
    """Q2: test 040."""
    images = CHAIN | {"top": ("-f", "qcow2", "-b", "mid", "-F", "qcow2", "1M")}
    options = ("-drive", "if=none,id=d,node-name=n,file=top,format=qcow2")
    both = start(tmp_path, *options, images=images)
    both.io("d", "write -P 1 0 1M")
    arguments: dict[str, Any] = {"device": "d", "job-id": "j", "auto-finalize": False}
    both.execute("block-commit", **arguments, top="mid", base="base")
    both.execute("query-blockstats")
    both.execute("query-blockstats", **{"query-nodes": True})
    both.close()


@pytest.mark.parametrize("size", [(1 << 63) - 1, 1 << 63, (1 << 63) + 512, (1 << 64) - 512])
@pytest.mark.parametrize("driver", ["qcow2", "raw", "file"])
def test_create_with_a_size_beyond_all_bounds(tmp_path: Path, size: int, driver: str) -> None:
    """AG: test 206; sizes are signed."""
    both = start(tmp_path)
    both.make("empty", 0)
    both.add("file", "f", filename="empty")
    place = {"filename": "new"} if driver == "file" else {"file": "f"}
    options = {"driver": driver, "size": size, **place}
    ended = []
    for program in (both.real, both.ours):
        arguments = {"job-id": "j", "options": options}
        (answer,) = program.execute({"execute": "blockdev-create", "arguments": arguments})[-1:]
        while "return" in answer and program.message()["data"].get("status") != "concluded":
            pass
        ended.append((answer, program.execute({"execute": "query-jobs"})[-1]))
    assert ended[1] == ended[0]
    both.close()


def test_cont_forgets_the_errors_of_jobs(tmp_path: Path) -> None:
    both = start(tmp_path)
    both.make("f", 1 << 20)
    rules = [{"event": "none", "iotype": "write", "errno": 28}]
    image = {"driver": "file", "filename": "f"}
    both.add("null-co", "n", size=1 << 20)
    both.add("blkdebug", "b", image=image, inject_error=rules)
    job = {"job-id": "j", "device": "n", "target": "b", "sync": "full"}
    for program in (both.real, both.ours):
        arguments = {**job, "on-target-error": "enospc"}
        seen = program.execute({"execute": "blockdev-backup", "arguments": arguments})
        while not any(message.get("event") == "BLOCK_JOB_ERROR" for message in seen):
            seen.append(program.message())
        program.execute({"execute": "query-status"})
    for command in ("query-block-jobs", "stop", "cont", "query-block-jobs", "query-jobs"):
        answers = [program.execute({"execute": command})[-1] for program in (both.real, both.ours)]
        assert answers[1] == answers[0], command
    both.close()


@pytest.mark.parametrize("other", [None, "export", "raw"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_child_of_a_quorum_with_another_parent_is_not_replaced(
    tmp_path: Path, other: str | None, when: str
) -> None:
    """R1: test 041."""
    both = start(tmp_path)
    children = [f"c{number}" for number in range(3)]
    for name in [*children, "t"]:
        both.add("null-co", name, size=1 << 20)
    both.add("quorum", "q", children=children, vote_threshold=2)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})

    def use() -> None:
        if other == "export":
            both.execute("block-export-add", **{"type": "nbd", "id": "e", "node-name": "c1"})
        elif other == "raw":
            both.add("raw", "r", file="c1")

    if when == "before":
        use()
    job = {"job-id": "j", "device": "q", "target": "t", "sync": "full", "replaces": "c1"}
    answers = []
    for program in (both.real, both.ours):
        seen = program.execute({"execute": "blockdev-mirror", "arguments": job})
        answers.append(seen[-1])
        while "error" not in answers[-1] and not any(
            message.get("event") == "BLOCK_JOB_READY" for message in seen
        ):
            seen.append(program.message())
    assert answers[1] == answers[0]
    if "error" not in answers[0]:
        if when == "after":
            for program in (both.real, both.ours):
                program.execute({"execute": "query-jobs"})
            use()
        ends = []
        for program in (both.real, both.ours):
            seen = program.execute({"execute": "job-complete", "arguments": {"id": "j"}})
            while not any(m.get("data", {}).get("status") == "null" for m in seen):
                seen.append(program.message())
            ends.append([m["data"] for m in seen if m.get("event") == "BLOCK_JOB_COMPLETED"])
        assert ends[1] == ends[0]
    both.execute("x-debug-query-block-graph")
    both.close()


@pytest.mark.parametrize("command", ["blockdev-mirror", "blockdev-backup"])
def test_a_job_does_not_write_to_an_inactive_target(tmp_path: Path, command: str) -> None:
    """Z: test inactive-node-nbd."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.add("null-co", "t", size=1 << 20, active=False)
    both.execute(command, **{"job-id": "j", "device": "n", "target": "t", "sync": "full"})
    both.look()
    both.close()
