"""Persistent bitmaps: stored by one program, read by the other, in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.interop.bench import needs_qemu_img, qemu_img
from tests.support.programs import QMPD_SYSTEM, qemu_missing
from tests.support.stdio import StdioProgram

OPTIONS = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
MISSING = qemu_missing()
PROGRAMS = {"qmpd": [*QMPD_SYSTEM, *OPTIONS], "qemu": ["qemu-system-x86_64", *OPTIONS]}


class Opened:
    """An image opened by one of the programs."""

    def __init__(self, who: str, path: Path) -> None:
        self.program = StdioProgram(PROGRAMS[who], path.parent)
        self.program.message()
        self.do("qmp_capabilities")
        file = {"driver": "file", "filename": str(path)}
        self.do("blockdev-add", driver="qcow2", **{"node-name": "d", "file": file})

    def do(self, command: str, **arguments: Any) -> Any:
        answer = self.program.execute({"execute": command, "arguments": arguments})[-1]
        assert "return" in answer, answer
        return answer["return"]

    def write(self, offset: int, length: int) -> None:
        line = f'qemu-io d "write {offset} {length}"'
        self.do("human-monitor-command", **{"command-line": line})

    def bitmaps(self) -> list[Any]:
        """Names, flags and contents."""
        nodes = self.do("query-named-block-nodes", flat=True)
        listed = next(n for n in nodes if n["node-name"] == "d").get("dirty-bitmaps", [])
        return [
            (
                b["name"],
                b["granularity"],
                b["recording"],
                b["persistent"],
                b.get("inconsistent", False),
                b["count"],
                self.do("x-debug-block-dirty-bitmap-sha256", node="d", name=b["name"]),
            )
            for b in listed
        ]

    def quit(self) -> None:
        self.do("quit")
        self.program.close()


writes = st.lists(st.tuples(st.integers(0, 127), st.integers(1, 16)), max_size=4)
made = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "long name é", "z"]),
        st.sampled_from([512, 4096, 65536, 1 << 20]),
        st.booleans(),
        writes,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda entry: entry[0],
)


@needs_qemu_img
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize("writer", ["qmpd", "qemu"])
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wanted=made)
def test_bitmaps_that_one_stored_are_the_others(
    writer: str, tmp_path: Path, wanted: list[Any]
) -> None:
    path = tmp_path / "image.qcow2"
    path.unlink(missing_ok=True)
    qemu_img("create", "-q", "-f", "qcow2", path, "8M")
    one = Opened(writer, path)
    for name, granularity, disabled, areas in wanted:
        one.do(
            "block-dirty-bitmap-add",
            node="d",
            name=name,
            granularity=granularity,
            persistent=True,
        )
        for at, length in areas:
            one.write(at * 65536 % (7 << 20), length * 4096)
        if disabled:
            one.do("block-dirty-bitmap-disable", node="d", name=name)
    stored = sorted(one.bitmaps(), key=str)
    one.quit()
    other = Opened("qemu" if writer == "qmpd" else "qmpd", path)
    assert sorted(other.bitmaps(), key=str) == stored
    other.quit()
    again = Opened(writer, path)
    assert sorted(again.bitmaps(), key=str) == stored
    again.quit()
    info = json.loads(qemu_img("info", "--output=json", path))
    shown = info["format-specific"]["data"].get("bitmaps", [])
    assert sorted((b["name"], b["granularity"], "auto" in b["flags"]) for b in shown) == sorted(
        (name, granularity, recording) for name, granularity, recording, *_ in stored
    )
    qemu_img("check", "-q", path)


@needs_qemu_img
def test_bitmaps_of_qemu_img(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "4M")
    qemu_img("bitmap", "--add", "-g", "4096", path, "b0")
    qemu_img("bitmap", "--add", "--disable", path, "b1")
    opened = Opened("qmpd", path)
    opened.write(0, 8192)
    found = {entry[0]: entry for entry in opened.bitmaps()}
    assert found["b0"][1:6] == (4096, True, True, False, 8192)
    assert found["b1"][1:6] == (65536, False, True, False, 0)
    opened.do("block-dirty-bitmap-remove", node="d", name="b1")
    opened.quit()
    info = json.loads(qemu_img("info", "--output=json", path))
    assert [b["name"] for b in info["format-specific"]["data"]["bitmaps"]] == ["b0"]
    qemu_img("bitmap", "--clear", path, "b0")
    qemu_img("bitmap", "--remove", path, "b0")
    qemu_img("check", "-q", path)


@needs_qemu_img
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
@pytest.mark.parametrize(("killed", "reader"), [("qmpd", "qemu"), ("qemu", "qmpd")])
def test_bitmaps_of_a_killed_program_are_inconsistent(
    killed: str, reader: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "4M")
    one = Opened(killed, path)
    one.do("block-dirty-bitmap-add", node="d", name="b", persistent=True)
    one.quit()
    one = Opened(killed, path)
    one.write(0, 65536)
    one.program.process.kill()
    one.program.process.wait()
    one.program.close()
    other = Opened(reader, path)
    assert [(b[0], b[2], b[3], b[4], b[5]) for b in other.bitmaps()] == [
        ("b", False, True, True, 0)
    ]
    other.do("block-dirty-bitmap-remove", node="d", name="b")
    other.quit()
    qemu_img("check", "-q", path)
