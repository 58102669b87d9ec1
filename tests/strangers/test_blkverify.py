"""The blkverify driver (G: tests 139, 099, 071, 245)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qmpd
from tests.block.files import Files, both_programs
from tests.strangers.world import make_images

TEST: dict[str, Any] = {"driver": "qcow2", "node-name": "t"}
TEST["file"] = {"driver": "file", "filename": "t.qcow2"}
RAW = {"driver": "file", "filename": "raw", "node-name": "r"}


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Files]:
    make_images(tmp_path, {"raw": ("-f", "raw", "1M"), "t.qcow2": ("-f", "qcow2", "1M")})
    with both_programs(tmp_path) as pair:
        yield pair


def test_alike(both: Files) -> None:
    both.add("blkverify", "v", test=TEST, raw=RAW)
    both.look()
    both.execute("x-debug-query-block-graph")
    for command in ("write -P 1 0 64k", "write -P 2 1000 100", "read 0 128k", "discard 0 64k"):
        both.io("v", command)
    for command in ("flush", "map", "info", "read -P 1 4k 4k"):
        both.io("v", command)
    both.add("raw", "over", file="v")
    both.execute("block-dirty-bitmap-add", node="v", name="b")
    both.io("over", "write -P 3 0 4k")
    both.look()
    both.delete("over")
    both.delete("v")
    both.look()


def test_refused(both: Files) -> None:
    both.add("null-co", "n1", size=1 << 20)
    both.add("null-co", "n2", size=1 << 19)
    both.add("blkverify", "v", test="x", raw=RAW)
    both.add("blkverify", "v", test="n1", raw="x")
    both.add("blkverify", "v", test="n1")
    both.add("blkverify", "v", test="n1", raw="n2", read_only=True)
    both.add("blkverify", "w", test="n2", raw="n1", read_only=True)
    both.add("qcow2", "q", file="v")
    both.look()
    both.execute("x-debug-query-block-graph")
    options = {"driver": "blkverify", "node-name": "v", "test": "n1", "raw": "n2"}
    both.execute("blockdev-reopen", options=[options])
    both.execute("blockdev-create", **{"job-id": "j", "options": {"driver": "blkverify"}})
    both.execute("block_resize", **{"node-name": "n1", "size": 1 << 21})


def test_mirror_may_replace_a_child(both: Files) -> None:
    both.add("blkverify", "v", test=TEST, raw=RAW)
    both.add("null-co", "n", size=1 << 20)
    job = {"job-id": "j", "device": "v", "target": "n", "sync": "none", "replaces": "t"}
    both.execute("blockdev-mirror", **job)


@pytest.mark.parametrize("where", [0, 70000])
def test_the_program_ends_where_they_differ(both: Files, where: int) -> None:
    both.add("blkverify", "v", test=TEST, raw=RAW)
    both.io("t", f"write -P 9 {where} 100")
    line = 'qemu-io v "read 0 128k"'
    request = b'{"execute": "human-monitor-command", "arguments": {"command-line": "%s"}}\n'
    ends = []
    for program in (both.real, both.ours):
        program.send(request % line.replace('"', '\\"').encode())
        ends.append((program.process.wait(20), program.stderr()))
    assert ends[1] == ends[0]
    assert f"contents mismatch at offset {where}" in ends[0][1]


def test_a_request_fails_where_the_process_goes_on() -> None:
    with qmpd.Machine(disks={"a": "1M", "b": "1M"}) as vm:
        vm.cmd("blockdev-add", driver="blkverify", node_name="v", test="a", raw="b")
        vm.disk("a").write(5, b"x")
        with pytest.raises(qmpd.errors.BlockIOError):
            vm.disk("v").read(0, 512)
        assert "blkverify: read offset=0 bytes=512 contents mismatch at offset 5" in "".join(
            vm.complaints
        )
        vm.disk("b").write(5, b"x")
        assert vm.disk("v").read(5, 1) == b"x"


def test_zeroes_are_written_as_data() -> None:
    """QEMU 10.0.2 dies of this one: an assertion on `supported_zero_flags` fails."""
    with qmpd.Machine(disks={"a": "1M", "b": "1M"}) as vm:
        vm.cmd("blockdev-add", driver="blkverify", node_name="v", test="a", raw="b")
        vm.disk("v").write(0, b"x" * 4096)
        vm.disk("v").write_zeroes(0, 4096)
        assert vm.disk("a").read(0, 4096) == vm.disk("b").read(0, 4096) == bytes(4096)
