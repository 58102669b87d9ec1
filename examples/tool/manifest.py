"""What a directory of backups holds, as its `manifest.json` says."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


class BackupError(Exception):
    """A backup or a restore failed: what happened, and what can be done."""


@dataclass(frozen=True)
class Point:
    """A moment to which the disks can be restored.

    `images` are file names by disk; `base` is the point whose images they are upon, None for a
    full backup.
    """

    number: int
    base: int | None
    images: dict[str, str]


@dataclass
class Manifest:
    """The points in a directory, and an id that is in all names that belong to them."""

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    points: list[Point] = field(default_factory=list)

    @classmethod
    def load(cls, directory: Path) -> Manifest:
        """Read it; a new one if there is none.

        :raises BackupError: it cannot be understood
        """
        path = directory / "manifest.json"
        try:
            data = json.loads(path.read_text("utf-8"))
            return cls(data["id"], [Point(**point) for point in data["points"]])
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{path} is damaged ({error!r}): use another directory") from error

    def save(self, directory: Path) -> None:
        """Replace the one before: a reader, or a crash, finds either the old one or the new."""
        new = directory / "manifest.json.new"
        with open(new, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, directory / "manifest.json")
        sync_directory(directory)

    def find(self, number: int | None = None) -> Point:
        """The point of a number, or the newest.

        :raises BackupError: there is none
        """
        for point in reversed(self.points):
            if number in (None, point.number):
                return point
        there = ", ".join(str(point.number) for point in self.points) or "none: make a full backup"
        raise BackupError(f"no point{'' if number is None else f' {number}'}; there are {there}")


def sync_directory(directory: Path) -> None:
    """See that the names in a directory outlast a crash of the host."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory, so that no other run of this tool works in it.

    :raises BackupError: another one does
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{directory} is in use by another backup") from None
        yield
