"""Hashes, counts and merges of bitmaps, beside a real QEMU's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmpd.block.bits.bitmap import DirtyBitmap
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram

MISSING = qemu_missing()

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

# A null-co node may have any size; all are whole sectors, as a node's length always is.
SIZES = (512, 65536, 3 * 65536 + 512, 1 << 20, (1 << 26) + 1536, (1 << 32) - 512, 1 << 40)
GRANULARITIES = (512, 4096, 65536, 1 << 20, 1 << 31)


@pytest.fixture(scope="module")
def qemu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StdioProgram]:
    argv = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
    folder: Path = tmp_path_factory.mktemp("qemu")
    program = StdioProgram([*argv, "-qmp", "stdio"], folder)
    program.message()
    program.execute({"execute": "qmp_capabilities"})
    yield program
    program.close()


def _do(qemu: StdioProgram, command: str, **arguments: object) -> dict[str, object]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    answer = qemu.execute({"execute": command, "arguments": named})[-1]
    assert "return" in answer, answer
    result = answer["return"]
    return result if isinstance(result, dict) else {"": result}


@pytest.mark.parametrize("size", SIZES)
def test_hashes_counts_and_merges(qemu: StdioProgram, size: int) -> None:
    chooser = random.Random(size)
    node = f"n{size}"
    # QEMU hashes at least the whole bit string: keep that small where the node is large.
    granularities = [g for g in GRANULARITIES if size // g <= 1 << 24]
    _do(qemu, "blockdev-add", driver="null-co", node_name=node, size=size)
    ours = {}
    for granularity in granularities:
        for kind in ("w", "m"):
            name = f"{kind}{granularity}"
            _do(
                qemu,
                "block-dirty-bitmap-add",
                node=node,
                name=name,
                granularity=granularity,
                disabled=kind == "m",
            )
            ours[name] = DirtyBitmap(size, granularity, name, enabled=kind == "w")
    for _ in range(12):
        offset = chooser.randrange(size)
        length = min(size - offset, chooser.choice([1, 512, 70_000, 5_000_000, 1 << 30]))
        _do(
            qemu,
            "human-monitor-command",
            command_line=f'qemu-io {node} "write -z {offset} {length}"',
        )
        for bitmap in ours.values():
            bitmap.mark(offset, length)
    for granularity in granularities:
        source = f"w{chooser.choice(granularities)}"
        _do(qemu, "block-dirty-bitmap-merge", node=node, target=f"m{granularity}", bitmaps=[source])
        ours[f"m{granularity}"].merge_from(ours[source])
    nodes = qemu.execute({"execute": "query-named-block-nodes", "arguments": {"flat": True}})
    [infos] = [n["dirty-bitmaps"] for n in nodes[-1]["return"] if n["node-name"] == node]
    assert {info["name"]: info["count"] for info in infos} == {
        name: bitmap.count for name, bitmap in ours.items()
    }
    for name, bitmap in ours.items():
        answer = _do(qemu, "x-debug-block-dirty-bitmap-sha256", node=node, name=name)
        assert bitmap.sha256() == answer["sha256"], name
    _do(qemu, "blockdev-del", node_name=node)
