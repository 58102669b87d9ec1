"""L: tests qcow2-internal-snapshots, 286, 068 and 267: snapshots of a whole machine by HMP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.strangers.test_drives import ends
from tests.strangers.world import SIDES, make_images, start
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

QCOW2 = ("-f", "qcow2", "1M")
RAW = ("-f", "raw", "1M")
DISKS = {
    "one qcow2": ("-drive", "if=none,id=d,file=a"),
    "two qcow2": ("-drive", "if=none,id=d,file=a", "-drive", "if=none,id=e,file=b"),
    "qcow2 and raw": ("-drive", "if=none,id=d,file=a", "-drive", "if=none,id=e,file=r,format=raw"),
    "qcow2 and read-only raw": (
        *("-drive", "if=none,id=d,file=a"),
        *("-drive", "if=none,id=e,file=r,format=raw,readonly=on"),
    ),
    "raw": ("-drive", "if=none,id=d,file=r,format=raw"),
    "read-only": ("-drive", "if=none,id=d,file=a,readonly=on"),
    "none": (),
    "empty": ("-drive", "if=none,id=d"),
    "overlay": ("-drive", "if=none,id=d,file=a,snapshot=on"),
    "node": ("-blockdev", "qcow2,node-name=n,file.driver=file,file.filename=a"),
    "node below another": (
        *("-blockdev", "qcow2,node-name=n,file.driver=file,file.filename=a"),
        *("-blockdev", "raw,node-name=m,file=n"),
    ),
    "inactive": (
        *("-incoming", "defer"),
        *("-drive", "if=none,id=d,file=a"),
    ),
}
IMAGES = {"a": QCOW2, "b": QCOW2, "r": RAW}
LINES = (
    *("info snapshots", "savevm one", "info snapshots", "loadvm one", "loadvm none", "delvm none"),
    *("savevm", "savevm one", "info snapshots", "delvm one", "info snapshots", "loadvm one"),
    *("savevm one two", "loadvm", "delvm"),
)


def run(both: Files, line: str) -> None:
    """Run a line; sizes of VM states, dates and clocks are each program's own."""
    said = [_said(program, line) for program in (both.real, both.ours)]
    assert said[1] == said[0], line


def _said(program: StdioProgram, line: str) -> Any:
    request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    *events, answer = program.execute(request)
    text = answer["return"]
    text = re.sub(r" +\d+(\.\d+)? ([KMG]i)?B ", " SIZE ", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d{4}:\d\d:\d\d\.\d{3}", "DATE CLOCK", text)
    text = re.sub(r"vm-\d{14}", "vm-NOW", text)
    return text, [event["event"] for event in events]


@pytest.mark.parametrize(
    ("disks", "paused"), [("one qcow2", True), *((disks, False) for disks in DISKS)]
)
def test_savevm_loadvm_and_delvm(tmp_path: Path, disks: str, paused: bool) -> None:
    options = (*DISKS[disks], *(("-S",) if paused else ()))
    both = start(tmp_path, *options, images=IMAGES)
    for line in LINES:
        run(both, line)
        both.execute("query-status")
    both.close()


def test_the_data_is_that_of_the_snapshot(tmp_path: Path) -> None:
    both = start(tmp_path, "-drive", "if=none,id=d,file=a", images=IMAGES)
    both.io("d", "write -P 1 0 1M")
    run(both, "savevm one")
    both.io("d", "write -P 2 0 512k")
    run(both, "loadvm one")
    both.io("d", "read -P 1 0 1M")
    both.io("d", "write -P 3 63k 2k")
    run(both, "savevm one")
    run(both, "savevm two")
    both.io("d", "write -P 4 0 1M")
    run(both, "delvm two")
    run(both, "loadvm one")
    both.io("d", "read -P 3 63k 2k")
    both.io("d", "read -P 1 65k 63k")
    both.close()


@pytest.mark.parametrize(
    "options",
    [
        ("-loadvm", "none"),
        ("-drive", "if=none,id=d,file=a", "-loadvm", "none"),
        ("-loadvm", "none", "-incoming", "defer"),
        ("-loadvm", "none", "-preconfig"),
        ("-set", "device.none.drive=d"),
        ("-set", "nothing.none.drive=d"),
        ("-drive", "if=none,id=d,file=a", "-set", "drive.d.format=nonsense"),
        ("-drive", "if=none,id=d,file=a", "-set", "drive.d.file.filename=b"),
    ],
)
def test_words_of_refusals(tmp_path: Path, options: tuple[str, ...]) -> None:
    make_images(tmp_path, IMAGES)
    real, ours = ends(tmp_path, *options)
    assert ours == real


def test_a_machine_starts_from_its_snapshot(tmp_path: Path) -> None:
    drive = ("-drive", "if=none,id=d,file=a")
    both = start(tmp_path, *drive, images=IMAGES)
    both.io("d", "write -P 1 0 1M")
    run(both, "savevm one")
    both.io("d", "write -P 2 0 1M")
    both.close()
    again = Files(tmp_path, *drive, "-loadvm", "one")
    again.io("d", "read -P 1 0 1M")
    again.execute("query-status")
    again.close()
    assert SIDES == ("real", "ours")
