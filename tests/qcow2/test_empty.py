"""Emptying an image: the file becomes as short as that of a new one, the same as QEMU's."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.errors import BlockIOError
from tests.block.files import Files
from tests.support.programs import qemu_missing

from .test_driver import Bench
from .test_image import check

CREATED = ["", "lazy_refcounts=on", "cluster_size=512", "extended_l2=on", "compat=0.10"]
DRIVE = "if=none,id=d0,node-name=n0,format=qcow2,file=t.qcow2"


def _images(both: Path, options: str) -> None:
    for side in ("real", "ours"):
        (both / side).mkdir()
        make = "qemu-img create -q -f qcow2"
        chosen = f"-o {options}" if options else ""
        for command in (
            f"{make} b.qcow2 4M",
            f"{make} {chosen} -b b.qcow2 -F qcow2 t.qcow2",
        ):
            subprocess.run(command.split(), cwd=both / side, check=True)


def _same_files(both: Files) -> int:
    """Fail unless both have the same bytes; returns the length of the overlay."""
    for name in ("b.qcow2", "t.qcow2"):
        real, ours = [(both.scratch / side / name).read_bytes() for side in ("real", "ours")]
        assert ours == real
    return len(ours)


@pytest.mark.parametrize("options", CREATED, ids=lambda text: text or "plain")
def test_commit_leaves_the_same_files(tmp_path: Path, options: str) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    _images(tmp_path, options)
    both = Files(tmp_path, "-drive", DRIVE)
    try:
        both.io("d0", "write -q -P 5 0 1M")
        both.io("d0", "flush")
        before = (tmp_path / "ours" / "t.qcow2").stat().st_size
        both.execute("human-monitor-command", **{"command-line": "commit d0"})
        after = _same_files(both)
        assert after < before or options == "compat=0.10"
        both.io("d0", "write -q -P 6 512k 64k")
        both.io("d0", "read -q -P 5 0 512k")
        both.io("d0", "read -q -P 6 512k 64k")
        # What has bitmaps or snapshots is emptied cluster by cluster.
        both.execute("block-dirty-bitmap-add", node="n0", name="b", persistent=True)
        both.execute("human-monitor-command", **{"command-line": "commit d0"})
        both.execute("blockdev-snapshot-internal-sync", device="d0", name="s")
        both.io("d0", "write -q -P 7 1M 64k")
        both.execute("human-monitor-command", **{"command-line": "commit d0"})
        both.io("d0", "read -q -P 7 1M 64k")
    finally:
        both.close()


@pytest.mark.parametrize("event", ["refblock_alloc", "cluster_alloc"])
def test_an_image_that_cannot_be_emptied_stays_what_it_was(tmp_path: Path, event: str) -> None:
    bench = Bench(tmp_path)
    bench.create("t.qcow2", 4 << 20)
    fault: dict[str, Any] = {"event": event, "state": 2, "errno": errno.EIO, "once": True}
    state = {"event": "empty_image_prepare", "state": 1, "new_state": 2}
    options = {"driver": "qcow2", "node-name": "t"}
    image = bench.file("t.qcow2")
    debugged = {"driver": "blkdebug", "image": image, "inject-error": [fault], "set-state": [state]}
    node = bench.run(blockdev_add(bench.graph, options | {"file": debugged}))
    bench.run(node.pwrite(0, b"\5" * (1 << 20)))
    bench.run(node.flush())
    with pytest.raises(BlockIOError) as failed:
        bench.run(node.driver.make_empty())
    assert failed.value.errno == errno.EIO
    assert bench.run(node.pread(0, 1 << 20)) == b"\5" * (1 << 20)
    bench.run(blockdev_del(bench.graph, "t"))
    node = bench.run(blockdev_add(bench.graph, options | {"file": image}))
    bench.run(node.pwrite(0, b"\6" * 65536))
    assert bench.run(node.pread(0, 65536)) == b"\6" * 65536
    bench.close()
    if shutil.which("qemu-img") is not None:
        check(tmp_path / "t.qcow2")
