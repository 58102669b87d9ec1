"""Damaged images in both programs: what opening says, and all that is done with them then.

Of images on which QEMU dies only is asked that qmpd does not.  ``QMPD_DAMAGED_IMAGES`` says how
many there are, ``QMPD_DAMAGED_SEED`` which ones; one that differs is told by both.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.qcow2.damaged import KINDS, Damage, Request, requests
from tests.support.normal import normal, normal_text
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import Gone, StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

IMAGES = int(os.environ.get("QMPD_DAMAGED_IMAGES", "60"))
SEED = int(os.environ.get("QMPD_DAMAGED_SEED", "1"))
SIDES = ("real", "ours")
LONGEST = 64 << 20
"""Bytes of a file: offsets may be anything."""
LAUNCHER = ["prlimit", f"--fsize={LONGEST}", "stdbuf", "-oL"]
ARGV = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
ARGV += ["-qmp", "stdio"]


@cache
def whole(folder: Path, kind: int) -> bytes:
    """The bytes of a whole image."""
    path = folder / f"kind{kind}.qcow2"
    KINDS[kind].make(path)
    return path.read_bytes()


class Side:
    """One of the programs; it is started anew after it has died."""

    def __init__(self, folder: Path, *, ours: bool) -> None:
        folder.mkdir()
        self.folder = folder
        self._ours = ours
        self._program: StdioProgram | None = None
        self._told = 0

    def _running(self) -> StdioProgram:
        if self._program is None:
            argv = qmpd_argv(ARGV) if self._ours else ARGV
            self._program = StdioProgram([*LAUNCHER, *argv], self.folder, 20)
            self._told = 0
            self._program.message()
            self._program.execute({"execute": "qmp_capabilities"})
        return self._program

    def use(self, work: list[Request]) -> list[Any] | None:
        """Do the work; returns what there was to see, None where the program has died."""
        program = self._running()
        seen: list[Any] = []
        try:
            for request in work:
                program.send(json.dumps(request).encode() + b"\n")
                seen.append((request, list(self._answer(program))))
        except (Gone, TimeoutError, OSError):
            program.process.kill()
            self.close()
            return None
        words = program.stderr()
        seen += normal_text(words[self._told :], str(self.folder)).splitlines()
        self._told = len(words)
        return [_same_name(line) for line in seen]

    def _answer(self, program: StdioProgram) -> Iterator[Any]:
        """All that comes until a request is answered, also what qemu-io prints."""
        while True:
            line = program.line().decode("utf-8", "surrogateescape")
            if not line.startswith("{"):
                yield normal_text(line)
                continue
            message = json.loads(line)
            yield normal(message, str(self.folder))
            if "return" in message or "error" in message:
                return

    def close(self) -> None:
        if self._program is not None:
            with suppress(OSError):
                self._program.close()
            self._program = None


def _same_name(line: Any) -> Any:
    if isinstance(line, str):
        for name in ("qemu-system-x86_64: ", "main.py: "):
            line = line.replace(name, "PROGRAM: ")
    return line


def checked(path: Path) -> str:
    """What ``qemu-img check`` says of an image."""
    command = ["qemu-img", "check", "-f", "qcow2", path.name]
    done = subprocess.run(
        command, cwd=path.parent, capture_output=True, text=True, check=False, timeout=60
    )
    return f"{done.returncode}\n{done.stdout}{done.stderr}"


@dataclass
class Difference:
    """Where the programs parted over an image."""

    seed: str
    damage: list[str]
    real: Any
    ours: Any

    def __str__(self) -> str:
        real, ours = (json.dumps(side, indent=0).splitlines() for side in (self.real, self.ours))
        parted = difflib.unified_diff(real, ours, "QEMU", "qmpd", lineterm="", n=2)
        return "\n    ".join([f"{self.seed}: {self.damage}", *parted])


def compare(seed: str, folder: Path, real: Side, ours: Side) -> Difference | str:
    """Compare what both do with one image; returns a word where there is no difference."""
    chance = random.Random(seed)
    damage = Damage(chance, whole(folder, chance.randrange(len(KINDS))))
    data = damage.apply()
    name = f"n{seed.partition(':')[2]}"
    work = list(requests(chance, name))
    paths = [side.folder / f"{name}.qcow2" for side in (real, ours)]
    for path in paths:
        path.write_bytes(data)
    try:
        expected, got = real.use(work), ours.use(work)
        if got is None:
            return Difference(seed, damage.told, expected and "lives", "dies")
        if expected is None:
            return "dies"
        for one, other in zip(expected, got, strict=False):
            if one != other:
                return Difference(seed, damage.told, one, other)
        if len(expected) != len(got):
            least = min(len(expected), len(got))
            return Difference(seed, damage.told, expected[least:], got[least:])
        one, other = (checked(path) for path in paths)
        if one != other:
            return Difference(seed, damage.told, one, other)
        opened = expected[0][1][-1][0][0] == "return"
        return "opened" if opened else "refused"
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    both = Side(tmp_path / "real", ours=False), Side(tmp_path / "ours", ours=True)
    yield both
    for side in both:
        side.close()


def test_damaged_images(tmp_path: Path, sides: tuple[Side, Side]) -> None:
    counts: dict[str, int] = {}
    differences = []
    for number in range(IMAGES):
        found = compare(f"{SEED}:{number}", tmp_path, *sides)
        if isinstance(found, Difference):
            differences.append(found)
            print(found)
        else:
            counts[found] = counts.get(found, 0) + 1
    print(f"seed {SEED}: {counts}, {len(differences)} differ")
    assert not differences
    assert counts.get("opened", 0) > IMAGES // 4


@pytest.mark.parametrize(
    "seed",
    [
        *("4:450", "4:510"),  # what one part of a long write frees, and the parts after it
        *("11:394", "11:408"),  # bitmaps that are stored on an L2 table when the image is closed
    ],
)
def test_once_different(tmp_path: Path, sides: tuple[Side, Side], seed: str) -> None:
    found = compare(seed, tmp_path, *sides)
    assert found == "opened", str(found)
