"""Groups of snapshots as a transaction, failing at every place, on qmpd and on the real QEMU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.snapshots.group import FAILURES, GROUPS, actions, spoil
from tests.support.normal import normal
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

QUERIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("query-block", {}),
    ("query-named-block-nodes", {"flat": True}),
    ("x-debug-query-block-graph", {}),
    ("query-jobs", {}),
)


class Disks(Files):
    """Both programs with the same disks d0, d1, ..., each with a dirty bitmap.

    :param size: how many disks
    """

    def __init__(self, scratch: Path, size: int) -> None:
        drives = [f"if=none,id=d{disk},file=disk{disk}.raw,format=raw" for disk in range(size)]
        options = [word for drive in drives for word in ("-drive", drive)]
        for side in ("real", "ours"):
            folder = scratch / side
            folder.mkdir()
            (folder / "text").write_bytes(b"no image" * 100)
            for disk in range(size):
                (folder / f"disk{disk}.raw").write_bytes(bytes(65536))
        super().__init__(scratch, *options)
        for disk in range(size):
            self.execute("block-dirty-bitmap-add", node=f"d{disk}", name="b")
        self.rounds = 0

    def state(self) -> list[Any]:
        """What each program says there is."""
        return [
            [program.execute({"execute": q, "arguments": a})[-1] for q, a in QUERIES]
            for program in (self.real, self.ours)
        ]

    def snapshot(self, group: list[dict[str, Any]]) -> Any:
        """Run a group; jobs may pause any number of times meanwhile."""
        request = {
            "execute": "transaction",
            "arguments": {
                "actions": [{"type": "blockdev-snapshot-sync", "data": disk} for disk in group]
            },
        }
        got = [_without_pauses(p.execute(request)) for p in (self.real, self.ours)]
        assert normal(got[1]) == normal(got[0])
        assert len(got[1]) == 1
        return got[1][0]

    def guests(self, size: int, command: str) -> None:
        """Let the guests of all disks read or write all of them, each its own byte."""
        for disk in range(size):
            word = f"{command} -P {(self.rounds * 5 + disk) % 256} 0 64k"
            line = json.dumps(
                {
                    "execute": "human-monitor-command",
                    "arguments": {"command-line": f'qemu-io d{disk} "{word}"'},
                }
            )
            done = "read" if command == "read" else "wrote"
            for program in (self.real, self.ours):
                program.send(line.encode() + b"\n")
                lines = [program.line().decode()]
                while not lines[-1].startswith('{"return"'):
                    lines.append(program.line().decode())
                assert f"{done} 65536/65536 bytes at offset 0\n" in lines
                assert not [line for line in lines if "Pattern verification failed" in line]

    def until_forgotten(self, request: dict[str, Any]) -> None:
        """Send a request that ends the job, and wait until nothing is left of it."""
        seen = [_until_null(p, p.execute(request)) for p in (self.real, self.ours)]
        assert normal(_without_pauses(seen[1])) == normal(_without_pauses(seen[0]))


def _without_pauses(messages: list[Any]) -> list[Any]:
    pauses = ("paused", "running")
    return [m for m in messages if m.get("data", {}).get("status") not in pauses]


def _until_null(program: StdioProgram, messages: list[Any]) -> list[Any]:
    while not any(m.get("data", {}).get("status") == "null" for m in messages):
        messages.append(program.message())
    return messages


@pytest.fixture(scope="module")
def all_disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Disks]]:
    started: dict[int, Disks] = {}
    yield started
    for disks in started.values():
        disks.close()


@pytest.fixture
def start(
    all_disks: dict[int, Disks], size: int, tmp_path_factory: pytest.TempPathFactory
) -> Disks:
    """The programs with this many disks: one pair for all tests."""
    if size not in all_disks:
        all_disks[size] = Disks(tmp_path_factory.mktemp("disks"), size)
    return all_disks[size]


@pytest.mark.parametrize(("size", "place"), GROUPS)
@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_happens_unless_all_happens(
    start: Disks, size: int, place: int, failure: str
) -> None:
    start.rounds += 1
    busy = failure == "busy"
    start.guests(size, "write")
    if busy:
        start.add("null-co", "target", size=65536)
        start.execute(
            "blockdev-backup",
            **{"job-id": "j", "device": f"d{place}", "target": "target", "sync": "none"},
        )
    before = start.state()
    group = actions(size, start.rounds)
    spoil(group, place, failure)

    answer = start.snapshot(group)

    assert answer["error"] == {"class": "GenericError", "desc": FAILURES[failure].format(place)}
    assert start.state() == before
    start.guests(size, "read")
    if busy:
        start.until_forgotten({"execute": "job-cancel", "arguments": {"id": "j"}})
        start.delete("target")
    assert start.snapshot(actions(size, start.rounds)) == {"return": {}}
    for disk, info in enumerate(start.execute("query-block")["return"]):
        assert info["inserted"]["file"] == f"round{start.rounds}-{disk}.qcow2"
    start.execute("query-named-block-nodes", flat=True)
    start.guests(size, "read")
