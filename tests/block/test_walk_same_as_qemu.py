"""What QEMU takes for all nodes (``bdrv_next``), by the commands that go through them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.block.files import Files
from tests.support.normal import normal_text
from tests.support.programs import qemu_missing

IMAGES = ("drive", "node", "below", "used", "twice")


@pytest.fixture
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    scratch = tmp_path_factory.mktemp("walk")
    for side in ("real", "ours"):
        (scratch / side).mkdir()
        for number, name in enumerate(IMAGES):
            for command in (f"create -q -f qcow2 {name} 1M", f"snapshot -c of{number} {name}"):
                subprocess.run(["qemu-img", *command.split()], cwd=scratch / side, check=True)
    both = Files(scratch, "-drive", "if=none,id=d,node-name=drive,file=drive,format=qcow2")
    yield both
    both.close()


def _open(both: Files) -> None:
    for name in IMAGES[1:]:
        both.add("qcow2", name, file={"driver": "file", "filename": name})
    both.add("raw", "above", file="below")


def _export(both: Files) -> None:
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    for number, name in enumerate(("used", "twice", "drive", "twice")):
        both.execute(
            "block-export-add",
            type="nbd",
            id=f"e{number}",
            name=f"e{number}",
            **{"node-name": name},
        )


def test_info_snapshots(both: Files) -> None:
    _open(both)
    for name in (None, "", "node", "twice", "used"):
        if name == "":
            _export(both)
        elif name is not None:
            both.execute("blockdev-snapshot-internal-sync", device=name, name="all")
        texts = []
        for side in ("real", "ours"):
            program = both.real if side == "real" else both.ours
            line = {"command-line": "info snapshots"}
            answer = program.execute({"execute": "human-monitor-command", "arguments": line})[-1]
            texts.append(_undated(normal_text(answer["return"])))
        assert texts[1] == texts[0], "\n".join(map(str, texts))


def _undated(text: str) -> list[list[str]]:
    return [
        line.split()[:3] if "of" in line or "all" in line else [line] for line in text.splitlines()
    ]


def test_stop_flushes_every_node(both: Files) -> None:
    """Each flush of a node is counted where a backend has it, and seen by blkdebug below it."""
    _open(both)
    _export(both)
    rule = {"event": "flush_to_disk", "once": True, "errno": 5}
    both.add("blkdebug", "counted", image="node", **{"inject-error": [rule]})
    both.execute("stop")
    both.execute("cont")
    both.execute("query-blockstats", **{"query-nodes": True})
    both.io("counted", "flush")


def test_inactivating_goes_through_all_nodes(both: Files) -> None:
    _open(both)
    _export(both)
    both.execute("blockdev-set-active", active=False)
    both.execute("query-named-block-nodes", flat=True)
    for number in range(4):
        both.execute("block-export-del", id=f"e{number}")
    both.execute("blockdev-set-active", active=False)
    both.execute("query-named-block-nodes", flat=True)
