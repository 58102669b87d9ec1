"""Both programs beside each other, each with an image that has the same bytes."""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.qcow2.damaged import Request
from tests.support.normal import normal, normal_text
from tests.support.programs import qmpd_argv
from tests.support.stdio import Gone, StdioProgram

LONGEST = 64 << 20
"""Bytes of a file: offsets may be anything."""
LAUNCHER = ["prlimit", f"--fsize={LONGEST}", "stdbuf", "-oL"]
ARGV = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
ARGV += ["-qmp", "stdio"]
LATE = [sys.executable, str(Path(__file__).with_name("late.py"))]
ONE_THREAD = ["-object", "main-loop,id=one,thread-pool-max=1"]
"""For QEMU: what is written and read at once has an order then, that in which it was begun."""


WORDS: Final = {
    "opened": "the image was opened",
    "refused": "it was not",
    "dies": "QEMU dies",
    "safer": "qmpd shows the same without the rules of `late`",
    "unsteady": "QEMU does not show the same twice: parts of a long write overtake each other, or"
    " what happened to be in its memory is written",
}
"""What comes of an image."""

_SPACE: Final = re.compile(r"disk size: [^\\]*")
"""What a file takes of the disk is the file system's matter."""

PATIENCE: Final = 90.0
"""Seconds that a request may take: tables with thousands of wrong entries take some."""

TRIES: Final = 6
"""How often QEMU is asked again."""


class Side:
    """One of the programs; it is started anew after it has died.

    :param argv: its command line
    """

    def __init__(self, folder: Path, argv: list[str]) -> None:
        folder.mkdir()
        self.folder = folder
        self._argv = argv
        self._program: StdioProgram | None = None
        self._told = 0

    def _running(self) -> StdioProgram:
        if self._program is None:
            self._program = StdioProgram([*LAUNCHER, *self._argv], self.folder, PATIENCE)
            self._told = 0
            self._program.message()
            self._program.execute({"execute": "qmp_capabilities"})
        return self._program

    def seen(self, name: str, data: bytes, work: list[Request]) -> list[Any] | None:
        """What there is to see of work with an image, and its bytes at the end.

        None where the program has died.

        :param name: the image's
        """
        path = self.folder / f"{name}.qcow2"
        path.write_bytes(data)
        try:
            shown = self.use(work)
            return shown if shown is None else [*shown, path.read_bytes()]
        finally:
            path.unlink()

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
            message = json.loads(_SPACE.sub("disk size: SPACE", line))
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
        for name in ("qemu-system-x86_64: ", "main.py: ", "late.py: "):
            line = line.replace(name, "PROGRAM: ")
    return line


def _checked(folder: Path, data: bytes) -> str:
    """What ``qemu-img check`` says of an image."""
    path = folder / "checked.qcow2"
    path.write_bytes(data)
    command = ["qemu-img", "check", "-f", "qcow2", path.name]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=60
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


class Sides:
    """QEMU, qmpd, and qmpd without what is safer in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real = Side(folder / "real", [*ARGV, *ONE_THREAD])
        self.ours = Side(folder / "ours", qmpd_argv(ARGV))
        self._late = Side(folder / "late", [*LATE, *ARGV[1:]])

    def compare(
        self, seed: str, damage: list[str], data: bytes, work: list[Request]
    ) -> Difference | str:
        """Do the same with an image in both; returns a word of `WORDS` where both show the same.

        :param seed: its last part names the image, and the node
        :param damage: what is told of the image
        :param work: the first request opens it
        """
        name = image_name(seed)
        expected, got = self.real.seen(name, data, work), self.ours.seen(name, data, work)
        if got is None:
            return Difference(seed, damage, expected and "lives", "dies")
        if expected is None:
            return "dies"
        parted = self._parted(expected, got)
        if parted is None:
            return "opened" if expected[0][1][-1][0][0] == "return" else "refused"
        late = self._late.seen(name, data, work)
        if late is not None and self._parted(expected, late) is None:
            return "safer"
        place, one, other = parted
        for _ in range(TRIES):
            again = self.real.seen(name, data, work)
            if again is None or self._parted(again, got) is None:
                return "unsteady"
            apart = self._parted(expected, again)
            if apart is not None and apart[0] <= place:
                return "unsteady"
        return Difference(seed, damage, one, other)

    def _parted(self, expected: list[Any], got: list[Any]) -> tuple[int, Any, Any] | None:
        """Where the first thing is that is not the same, and what it is on either side.

        Of the images, only what is wrong in them has to be.
        """
        (*expected, left), (*got, right) = expected, got
        for place, (one, other) in enumerate(zip(expected, got, strict=False)):
            if one != other:
                return place, one, other
        place = min(len(expected), len(got))
        if len(expected) != len(got):
            return place, expected[place:], got[place:]
        if left == right:
            return None
        one, other = (_checked(self.folder, data) for data in (left, right))
        return None if one == other else (place, one, other)

    def close(self) -> None:
        for side in (self.real, self.ours, self._late):
            side.close()


def image_name(seed: str) -> str:
    """The name of an image, and of its node."""
    return f"n{seed.rpartition(':')[2]}"


def compare_all(compare: Callable[[str], Difference | str], seed: int, images: int) -> None:
    """Compare what is done with images of numbers below `images`; fails where one differs.

    :param compare: does so with one; returns a word where there is no difference
    """
    counts: dict[str, int] = {}
    differences = []
    for number in range(images):
        found = compare(f"{seed}:{number}")
        if isinstance(found, Difference):
            differences.append(found)
            print(found)
        else:
            counts[found] = counts.get(found, 0) + 1
    print(f"seed {seed}: {counts}, {len(differences)} differ")
    assert not differences
    assert counts.get("opened", 0) > images // 4
