"""The lists of tests: what passes, what does not and why, and which of it is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One test.

    :param name: what QEMU calls it
    :param image: its image format, with a protocol after a dash where that is not a file
    :param methods: how many of its methods pass; None where it passes as a whole
    :param passes: whether it is one that passes
    :param quick: whether the short run has it
    :param optional: whether it needs what is not everywhere, and may find that it cannot be run
    """

    name: str
    image: str = "qcow2"
    methods: int | None = None
    passes: bool = False
    quick: bool = False
    optional: bool = False


def read(path: Path, *, passes: bool) -> dict[str, Entry]:
    """Read a list: on each line a name, a format, and words; ``#`` begins a comment.

    The words are ``quick``, ``optional``, and a number of methods where not all of the test passes.
    """
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words:
            name, image, *marks = words
            methods = next((int(mark) for mark in marks if mark.isdigit()), None)
            marked = {"quick": "quick" in marks, "optional": "optional" in marks}
            entries[name] = Entry(name, image, methods, passes, **marked)
    return entries


def all_tests() -> dict[str, Entry]:
    """Every test that is known here, by name."""
    return read(FOLDER / "others.txt", passes=False) | read(FOLDER / "expected.txt", passes=True)


def chosen(names: list[str]) -> list[Entry]:
    """The tests of these names; ``NAME:FORMAT`` for another format than the list has.

    ``quick`` stands for the short run, ``expected`` for all that pass, nothing for all.
    """
    known = all_tests()
    entries: dict[str, Entry] = {}
    for name in names or ["all"]:
        if name in ("all", "expected", "quick"):
            for entry in known.values():
                if name == "all" or (entry.passes if name == "expected" else entry.quick):
                    entries[entry.name] = entry
            continue
        name, _, image = name.partition(":")
        if name.isdigit():
            name = name.zfill(3)
        entry = known.get(name, Entry(name))
        entries[name] = entry if image in ("", entry.image) else Entry(name, image)
    return list(entries.values())
