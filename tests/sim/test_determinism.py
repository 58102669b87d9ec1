"""The same program with the same seed on a held clock: the same bytes on the wire.

A hundred made-up programs (`tests.sim.programs`: jobs, bitmaps, transactions, snapshots, faults,
guests, crashes, resets) run twice in this process and once in another, whose hashes are others.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sim.programs import bytes_of, digest

CHUNK = 20


@pytest.mark.parametrize("first", range(0, 100, CHUNK))
def test_the_same_bytes(first: int) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": str(first + 1)}
    argv = [sys.executable, "-m", "tests.sim.programs", str(first), str(CHUNK)]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as elsewhere:
        here = [digest(number) for number in range(first, first + CHUNK)]
        again = [digest(number) for number in range(first, first + CHUNK)]
        there, _ = elsewhere.communicate(timeout=120)
    assert again == here
    assert there.splitlines() == here


def test_the_programs_are_about_something() -> None:
    sent = b"".join(bytes_of(number) for number in range(30))
    for name in (
        *("BLOCK_JOB_COMPLETED", "BLOCK_JOB_READY", "BLOCK_JOB_CANCELLED", "BLOCK_JOB_ERROR"),
        *("JOB_STATUS_CHANGE", "SHUTDOWN", "RESET", "STOP", "GUEST_PANICKED", "error", "#block"),
    ):
        assert name.encode() in sent, name
