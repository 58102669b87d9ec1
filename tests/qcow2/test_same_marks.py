"""The same guest writes on QEMU and here mark the same granules of the image's file node."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.change.blockdev import blockdev_add

from .test_driver import Bench
from .test_image import check

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="no qemu-system-x86_64 here"
)
GRANULARITY = 512


def random_script(seed: int, size: int) -> list[tuple[str, int, int]]:
    choice = random.Random(seed)
    script = []
    for _ in range(12):
        name = choice.choice(["write", "write", "write", "zero", "unmap", "discard"])
        offset = choice.randrange(0, size, 512)
        length = min(choice.choice([1, 512, 4096, 65536, 200_000]), size - offset)
        script.append((name, offset, length))
    return script


COMMANDS = {
    "write": "write -P 7 {} {}",
    "zero": "write -z {} {}",
    "unmap": "write -z -u {} {}",
    "discard": "discard {} {}",
}


def marks_of_qemu(options: dict[str, Any], script: list[tuple[str, int, int]]) -> list[str]:
    """Hash of the file node's bitmap after each step."""
    requests: list[dict[str, Any]] = [
        {"execute": "qmp_capabilities"},
        {"execute": "blockdev-add", "arguments": options},
        {
            "execute": "block-dirty-bitmap-add",
            "arguments": {"node": "f", "name": "b", "granularity": GRANULARITY},
        },
    ]
    digest = {"node": "f", "name": "b"}
    for name, offset, length in script:
        line = f'qemu-io q "{COMMANDS[name].format(offset, length)}"'
        requests += [
            {"execute": "human-monitor-command", "arguments": {"command-line": line}},
            {"execute": "x-debug-block-dirty-bitmap-sha256", "arguments": digest},
        ]
    requests.append({"execute": "quit"})
    process = subprocess.run(
        "qemu-system-x86_64 -machine none -nodefaults -display none -qmp stdio".split(),
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith('{"return"')]
    returns = [json.loads(line)["return"] for line in lines]
    return [answer["sha256"] for answer in returns if isinstance(answer, dict) and answer]


@pytest.mark.parametrize("seed", range(6))
def test_same_marks(tmp_path: Path, seed: int) -> None:
    bench = Bench(tmp_path)
    choice = random.Random(seed)
    size = 4 << 20
    bench.create(
        "ours",
        size,
        cluster_size=choice.choice([4096, 65536]),
        version="v3" if seed % 3 else "v2",
    )
    shutil.copy(tmp_path / "ours", tmp_path / "theirs")
    script = random_script(seed, size)
    options = {"driver": "qcow2", "node-name": "q", "discard": "unmap"}
    file = {"node-name": "f", "discard": "unmap"}
    theirs = marks_of_qemu({**options, "file": bench.file("theirs", **file)}, script)
    node = bench.run(blockdev_add(bench.graph, {**options, "file": bench.file("ours", **file)}))
    assert node.file is not None
    bitmap = DirtyBitmap(node.file.length, GRANULARITY, "b")
    node.file.bitmaps.add(bitmap)
    ours = []
    for name, offset, length in script:
        if name == "write":
            bench.run(node.pwrite(offset, b"\7" * length))
        elif name == "discard":
            bench.run(node.pdiscard(offset, length))
        else:
            bench.run(node.pwrite_zeroes(offset, length, may_unmap=name == "unmap"))
        ours.append(bitmap.sha256())
    bench.close()
    assert ours == theirs, script
    check(tmp_path / "ours")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
