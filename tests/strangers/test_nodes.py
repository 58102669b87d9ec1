"""Kinds of fault of nodes and their images that QEMU's own block tests have shown.

The letters are those of the list by which they were found; the comments name QEMU's tests.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.differential.pair import OPTIONS
from tests.strangers.world import start
from tests.support.programs import qemu_missing, qmpd_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

QCOW2 = ("-f", "qcow2", "1M")


@pytest.mark.parametrize("size", [512, 1024, 4096, 1 << 20])
def test_a_raw_file_that_grows_from_nothing_has_a_first_block(tmp_path: Path, size: int) -> None:
    """Y: test 175."""
    both = start(tmp_path)
    both.make("empty", 0)
    both.add("file", "f", filename="empty")
    both.execute("block_resize", **{"node-name": "f", "size": size})
    for preallocation in ("off", "falloc", "full"):
        options = {"driver": "file", "filename": f"new-{preallocation}", "size": size}
        arguments = {"job-id": "j", "options": {**options, "preallocation": preallocation}}
        for program in (both.real, both.ours):
            program.execute({"execute": "blockdev-create", "arguments": arguments})
            while program.message().get("data", {}).get("status") != "concluded":
                pass
            program.execute({"execute": "job-dismiss", "arguments": {"id": "j"}})
    both.close()
    for name in ("empty", "new-off", "new-falloc", "new-full"):
        blocks = [(tmp_path / side / name).stat().st_blocks for side in ("real", "ours")]
        assert blocks[1] == blocks[0], name


@pytest.mark.parametrize("flags", ["", "-v ", "-n ", "-n -v "])
def test_info_block_of_a_node(tmp_path: Path, flags: str) -> None:
    """AD: test 142."""
    both = start(tmp_path, "-drive", "if=none,id=d,driver=null-co,node-name=in-d")
    both.add("null-co", "n", size=1 << 20)
    both.add("raw", "m", file="n")
    for name in ("d", "in-d", "n", "m", "none", ""):
        both.execute("human-monitor-command", **{"command-line": f"info block {flags}{name}"})
    both.close()


@pytest.mark.parametrize("config", ["/dev/null", "nowhere", ".", "/dev/zero/x"])
def test_blkdebug_reads_any_file(tmp_path: Path, config: str) -> None:
    """AH: test 245."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.add("blkdebug", "b", image="n", config=config)
    both.look()
    both.close()


@pytest.mark.parametrize("check", [False, True])
def test_the_cache_of_a_file_is_dropped(tmp_path: Path, check: bool) -> None:
    """AH: test 245."""
    both = start(tmp_path)
    both.make("f", 1 << 20, b"x" * 100_000)
    file = {"driver": "file", "node-name": "n", "filename": "f"}
    options = [
        {"x-check-cache-dropped": check},
        {"x-check-cache-dropped": True, "drop-cache": False},
        {"drop-cache": False},
        {},
        {"x-check-cache-dropped": True},
        {"x-check-cache-dropped": check, "drop-cache": True},
        {"x-check-cache-dropped": not check, "drop-cache": True},
    ]
    both.execute("blockdev-add", **file, **options[0])
    for given in options:
        both.execute("blockdev-reopen", options=[file | given])
        both.io("n", "read 0 64k")
        # Whether the host has dropped all of it is a matter of chance.
        if not given.get("x-check-cache-dropped"):
            both.execute("blockdev-set-active", **{"node-name": "n", "active": False})
            both.execute("blockdev-set-active", **{"node-name": "n", "active": True})
    both.close()


def test_cont_takes_all_images_back(tmp_path: Path) -> None:
    """Z: test inactive-node-nbd."""
    both = start(tmp_path, "-S")
    both.add("null-co", "n", size=1 << 20, active=False)
    both.add("raw", "m", file="n", active=False)
    both.look()
    both.execute("cont")
    both.look()
    both.execute("blockdev-set-active", **{"node-name": "m", "active": False})
    both.execute("cont")
    both.look()
    both.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_an_image_that_is_found_corrupt_is_no_matter_of_the_monitor(
    tmp_path: Path, read_only: bool
) -> None:
    """AC: test 060."""
    both = start(tmp_path, images={"i": QCOW2})
    for side in ("real", "ours"):
        with (tmp_path / side / "i").open("r+b") as image:
            image.seek(0x30000)
            image.write((0x2A2A2A00 | 1 << 63).to_bytes(8, "big"))
    both.add("qcow2", "n", file={"driver": "file", "filename": "i"}, read_only=read_only)
    both.io("n", "read 0 512")
    both.io("n", "read 0 512")
    real, ours = both.real.stderr(), both.ours.stderr()
    assert ours == real
    assert ours.startswith("qcow2: ")
    both.close()


@pytest.mark.parametrize("program", ["qemu-system-x86_64", "qemu-storage-daemon"])
def test_all_that_was_sent_is_answered_before_the_end(tmp_path: Path, program: str) -> None:
    """K and AF: tests qsd-jobs and 071; a pipe ends while a request waits."""
    options = {
        "qemu-system-x86_64": (*OPTIONS, "-nodefaults"),
        "qemu-storage-daemon": ("--chardev", "stdio,id=s", "--monitor", "s"),
    }
    rules = [{"event": "none", "iotype": "flush", "errno": 5}]
    file = {"driver": "file", "filename": "i"}
    image = {"driver": "blkdebug", "image": file, "inject-error": rules}
    requests = [
        {"execute": "qmp_capabilities"},
        {
            "execute": "blockdev-add",
            "arguments": {"driver": "qcow2", "node-name": "n", "file": image},
        },
        {
            "execute": "block-dirty-bitmap-add",
            "arguments": {"node": "n", "name": "b", "persistent": True},
        },
        {"execute": "block_resize", "arguments": {"node-name": "n", "size": 1 << 21}},
        {"execute": "query-block-jobs"},
        {"execute": "quit"},
    ]
    ends = []
    for side, argv in (("real", [program]), ("ours", qmpd_argv([program]))):
        folder = tmp_path / side
        folder.mkdir()
        make = ["qemu-img", "create", "-q", "-f", "qcow2", "i", "1M"]
        subprocess.run(make, cwd=folder, check=True)
        done = subprocess.run(
            [*argv, *options[program]],
            cwd=folder,
            input="".join(json.dumps(request) + "\n" for request in requests),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        lines = done.stdout.splitlines()[1:]
        shown = [re.sub(r"^[^ {]+: |\"timestamp\": {[^}]*}", "", line) for line in lines]
        ends.append((done.returncode, shown))
    assert ends[1] == ends[0]
    assert '{"return": {}}' in ends[0][1][-1]
