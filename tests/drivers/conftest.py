"""One pair of programs for all tests of a module, with nothing in it for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.drivers.pair import Drivers
from tests.support.programs import qemu_missing


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    reason = qemu_missing()
    if reason is None and shutil.which("qemu-img") is None:
        reason = "qemu-img is not installed"
    if reason is not None:
        pytest.skip(reason)
    pair = Drivers(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.fixture
def pair(programs: Drivers) -> Iterator[Drivers]:
    """Three files of 1 MiB of zeroes, nothing open."""
    for name in ("a.raw", "b.raw", "c.raw"):
        programs.make(name, 1 << 20)
    programs.apart = frozenset()
    yield programs
    programs.clear()
