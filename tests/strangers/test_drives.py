"""Kinds of fault about drives that QEMU's own block tests have shown, each by its shortest way.

The letters are those of the list by which they were found; the comments name QEMU's tests.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.differential.pair import OPTIONS
from tests.strangers.world import SIDES, make_images, start
from tests.support.programs import qemu_missing, qmpd_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

QCOW2 = ("-f", "qcow2", "1M")
RAW = ("-f", "raw", "1M")
IMAGES = {"base": QCOW2, "top": ("-f", "qcow2", "-b", "base", "-F", "qcow2", "1M"), "raw": RAW}


def ends(scratch: Path, *options: str, **environment: str) -> list[tuple[int, str]]:
    """Start both with these options, and end them if they come up; status and what they said."""
    found = []
    for side in SIDES:
        argv = ["qemu-system-x86_64", *OPTIONS, *options]
        done = subprocess.run(
            argv if side == "real" else qmpd_argv(argv),
            cwd=scratch / side,
            env={**os.environ, **environment},
            input='{"execute": "qmp_capabilities"} {"execute": "quit"}',
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = re.sub(r"vl\.\w{6}", "vl.XXXXXX", done.stderr)
        said = re.sub(r"^(main\.py|qemu-system-x86_64): ", "", said, flags=re.MULTILINE)
        found.append((done.returncode, said))
    return found


@pytest.mark.parametrize(
    "options",
    [
        "file=top,backing.file.filename=base",
        "driver=quorum,vote-threshold=2,children.0.file.filename=raw,children.1.file.filename=top",
        "file=blkdebug::top,file.image.node-name=x",
        "file=null-co://,file.read-zeroes=on",
        "driver=blkdebug,file=blkdebug::null-co://,align=65536",
    ],
)
def test_children_without_a_driver(tmp_path: Path, options: str) -> None:
    """B1 and B2: tests 312, 130, 142, 051, 030, 056, 136."""
    both = start(tmp_path, "-drive", f"if=none,id=d,{options}", images=IMAGES)
    both.look()
    both.io("d", "read 0 64k")
    both.close()


@pytest.mark.parametrize("command", ["drive-mirror", "drive-backup"])
@pytest.mark.parametrize("target", ["blkdebug::target", "blkdebug:conf:target"])
def test_format_of_a_target_in_a_drivers_notation(
    tmp_path: Path, command: str, target: str
) -> None:
    """B3: test 041."""
    images = {"disk": QCOW2, "target": ("-f", "qcow2", "2M"), "same": QCOW2}
    both = start(tmp_path, "-drive", "if=none,id=d,file=disk,format=qcow2", images=images)
    for side in SIDES:
        (tmp_path / side / "conf").write_text('[inject-error]\nevent = "read_aio"\nerrno = "5"\n')
    arguments = {"device": "d", "sync": "full", "mode": "existing", "target": target}
    answers = []
    for program in (both.real, both.ours):
        seen = program.execute({"execute": command, "arguments": arguments})
        while not any(message.get("data", {}).get("status") == "null" for message in seen):
            if "error" in seen[-1]:
                break
            if seen[-1].get("event") == "BLOCK_JOB_READY":
                program.execute({"execute": "query-named-block-nodes", "arguments": {"flat": True}})
                break
            seen.append(program.message())
        answers.append([m.get("error", m.get("event")) for m in seen if "timestamp" not in m])
    assert answers[1] == answers[0]
    both.close()


@pytest.mark.parametrize(
    "options",
    [
        "file=top,file.backing.driver=file,file.backing.filename=x",
        "driver=nbd",
        "file=top,backing.cache.writeback=off",
        "id=a,file=top,node-name=a",
        "file=top,backing.foo=bar",
        "file=top,driver=raw,backing.driver=raw",
        "driver=file",
        "file=base,format=qcow2,file.driver=nbd",
    ],
)
def test_words_of_refusals(tmp_path: Path, options: str) -> None:
    """B4 and B5: tests 051 and 142."""
    make_images(tmp_path, IMAGES)
    real, ours = ends(tmp_path, "-drive", f"if=none,{options}")
    assert ours == real
    assert real[0] == 1


@pytest.mark.parametrize("place", ["/nonexistent", "base", ""])
@pytest.mark.parametrize("options", ["driver=null-co", "file=base,readonly=on"])
def test_no_place_for_temporary_files(tmp_path: Path, place: str, options: str) -> None:
    """B5: test 051."""
    make_images(tmp_path, IMAGES)
    drive = f"if=none,id=d,{options},snapshot=on"
    real, ours = ends(tmp_path, "-drive", drive, TMPDIR=place)
    assert (ours[0], ours[1].replace("/ours/", "/real/")) == real


@pytest.mark.parametrize(
    "options",
    [
        ("-device", "virtio-scsi", "-device", "scsi-hd"),
        ("-drive", "if=none,id=disk", "-device", "ide-hd,drive=disk"),
        ("-drive", "if=virtio"),
        ("-drive", "if=none,id=d,driver=null-co,read-only=on", "-device", "ide-hd,drive=d"),
        ("-drive", "if=none,id=d,driver=null-co"),
    ],
)
def test_the_first_prompt_comes_when_the_main_loop_runs(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """AE: test 051."""
    make_images(tmp_path, {})
    said = []
    for side in SIDES:
        argv = ["qemu-system-x86_64", "-machine", "pc", "-nodefaults", "-S", "-display", "none"]
        argv += ["-monitor", "stdio", *options]
        done = subprocess.run(
            argv if side == "real" else qmpd_argv(argv),
            cwd=tmp_path / side,
            input="quit\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        shown = re.sub(r"^(main\.py|qemu-system-x86_64): ", "", done.stdout, flags=re.MULTILINE)
        said.append((done.returncode, shown))
    assert said[1] == said[0]
