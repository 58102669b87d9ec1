"""The end of a program whose jobs are at work: the same in qmpd and in QEMU.

Events, status and complaints are compared, then the images: what is in them, whether they are
whole, and their persistent bitmaps, which the real program reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import pytest

from qmpd.profile.shipped import DEFAULT
from tests.server import shutdown_cases
from tests.server.shutdown_program import MONITOR, Ending, make_images, ours, serve
from tests.support.programs import qemu_missing
from tests.support.versions import OTHERS, both_argv

MISSING = qemu_missing()
if MISSING is None and not all(map(shutil.which, ("qemu-img", "qemu-io", "qemu-storage-daemon"))):
    MISSING = "needs qemu-img, qemu-io and qemu-storage-daemon"

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

Way = Callable[[Ending], None]

WAYS: tuple[Way, ...] = (
    Ending.quit,
    Ending.sigterm,
    Ending.client_lost,
    Ending.quit_by_the_next,
)
TURNS = cycle([(p, way) for way in (Ending.quit, Ending.sigterm) for p in (*MONITOR, "system")])
CELLS = [(case, *next(TURNS)) for case in shutdown_cases.CASES]
"""Every case with one program and one way to end it, in turn."""

NOT_IN_5_2: Final = {"backup_paused", "stream_paused", "mirror_standby_completing"}
"""It does not wake a job that waits for its speed limit to pause it, and completes none that is."""

VERSION_TURNS = cycle([(version, way) for way in WAYS[:2] for version in OTHERS])
VERSION_CELLS = [
    pytest.param(case, version, way, marks=pytest.mark.long if number % 2 else ())
    for number, case in enumerate(shutdown_cases.CASES)
    for version, way in [next(VERSION_TURNS)]
    if version != "5.2" or case not in NOT_IN_5_2
]
"""Most cases with the storage daemon of one version and one way to end it, in turn; half of them in
the long run only."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shutdown") / "images"
    make_images(folder)
    return folder


def _played(
    argv: list[str],
    folder: Path,
    images: Path,
    case: str,
    personality: str,
    end: Way,
    version: str = DEFAULT,
) -> dict[str, Any]:
    program = Ending(argv, folder, images, guest=personality == "system", version=version)
    try:
        shutdown_cases.CASES[case](program)
        end(program)
        return program.left()
    finally:
        if program.program.process.poll() is None:
            program.program.process.kill()
            program.program.process.wait()


def _compare(
    folder: Path, images: Path, case: str, personality: str, end: Way, argv: list[str]
) -> None:
    sides = {"real": MONITOR[personality], "ours": argv}
    with ThreadPoolExecutor(len(sides)) as pool:
        played = [
            pool.submit(_played, argv, folder / side, images, case, personality, end)
            for side, argv in sides.items()
        ]
        expected, got = [one.result() for one in played]
    if argv == serve(personality):
        # its log is another than QEMU's
        expected["stderr"] = ""
    assert got == expected


@pytest.mark.parametrize(("case", "personality", "end"), CELLS)
def test_every_state(tmp_path: Path, images: Path, case: str, personality: str, end: Way) -> None:
    _compare(tmp_path, images, case, personality, end, ours(personality))


@pytest.mark.parametrize("end", WAYS)
@pytest.mark.parametrize("personality", MONITOR)
def test_many_jobs(tmp_path: Path, images: Path, personality: str, end: Way) -> None:
    _compare(tmp_path, images, "many", personality, end, ours(personality))


@pytest.mark.parametrize(
    ("personality", "end"),
    [
        ("system", Ending.sigterm),
        ("system", Ending.quit_by_the_next),
        ("storage-daemon", Ending.quit),
        ("storage-daemon", Ending.client_lost),
    ],
)
def test_many_jobs_of_serve(tmp_path: Path, images: Path, personality: str, end: Way) -> None:
    _compare(tmp_path, images, "many", personality, end, serve(personality))


@pytest.mark.parametrize(("case", "version", "end"), VERSION_CELLS)
def test_storage_daemons(tmp_path: Path, images: Path, case: str, version: str, end: Way) -> None:
    """That of 5.2 closes nothing: what of a job's requests is in the images then varies."""
    argvs = both_argv(version, MONITOR["storage-daemon"])
    with ThreadPoolExecutor(len(argvs)) as pool:
        played = [
            pool.submit(_played, argv, tmp_path / side, images, case, "", end, version)
            for side, argv in zip(("real", "ours"), argvs, strict=True)
        ]
        expected, got = [one.result() for one in played]
    if version == "5.2":
        names = ("said", "status", "stderr", "bitmaps")
        expected, got = [{name: found[name] for name in names} for found in (expected, got)]
    assert got == expected
