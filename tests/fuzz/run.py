"""Runs fuzzers, and keeps what has made one fail."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.fuzz.arguments import Arguments
from tests.fuzz.fuzzer import Failed, Fuzzer, Leaked, life
from tests.fuzz.nbd import Nbd
from tests.fuzz.qcow2 import Qcow2
from tests.fuzz.vhost_user import VhostUser
from tests.fuzz.wire import Wire

FUZZERS: Final[dict[str, type[Fuzzer]]] = {
    kind.name: kind for kind in (Wire, Arguments, Nbd, VhostUser, Qcow2)
}

EVERY: Final = 100
"""Inputs between two looks at a daemon."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory, if there is such a thing: no input has to wait for a disk."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="qf-", dir=where) as folder:
        yield Path(folder)


@dataclass
class Result:
    """What became of a run.

    `count`: the inputs tried; `failure`: what went wrong; `kept`: the file with the inputs that
    make it go wrong again.
    """

    count: int = 0
    failure: str | None = None
    kept: Path | None = None


def run(kind: type[Fuzzer], seed: int, seconds: float, keep: Path, *, least: int = 1) -> Result:
    """Try inputs for some seconds, and at least so many, or until something goes wrong."""
    result, number, deadline = Result(), 0, time.monotonic() + seconds
    while time.monotonic() < deadline or number < least:
        with scratch() as folder:
            played: list[Any] = []
            try:
                with life(kind, folder) as one:
                    played = one.played
                    while (time.monotonic() < deadline or number < least) and (
                        len(played) < kind.life
                    ):
                        one.play(kind.make(Random(f"{kind.name}/{seed}/{number}")))
                        number += 1
                        if number % EVERY == 0:
                            one.look()
                    result.count += one.count
            except Failed as failure:
                result.count += len(played)
                result.failure = str(failure)
                inputs = played if isinstance(failure, Leaked) else shorter(kind, played)
                result.kept = kept(kind, seed, number, inputs, keep)
                return result
    return result


def replay(kind: type[Fuzzer], inputs: list[Any]) -> str | None:
    """Give a new daemon all these; returns what went wrong."""
    with scratch() as folder:
        try:
            with life(kind, folder) as one:
                for made in inputs:
                    one.play(made)
        except Failed as failure:
            return str(failure)
    return None


def shorter(kind: type[Fuzzer], inputs: list[Any]) -> list[Any]:
    """The last few of the inputs, where they are enough for it to go wrong; else all."""
    length = 1
    while length < len(inputs) and length <= 64:
        if replay(kind, inputs[-length:]) is not None:
            return inputs[-length:]
        length *= 4
    return inputs


def kept(kind: type[Fuzzer], seed: int, number: int, inputs: list[Any], keep: Path) -> Path:
    """Write inputs to a file."""
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{kind.name}-{seed}-{number}.json"
    path.write_text(json.dumps({"fuzzer": kind.name, "inputs": inputs}), encoding="ascii")
    return path


def replay_file(path: Path) -> str | None:
    """Give a new daemon what is kept in a file; returns what went wrong."""
    found = json.loads(path.read_text(encoding="ascii"))
    return replay(FUZZERS[found["fuzzer"]], found["inputs"])
