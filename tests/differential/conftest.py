"""One pair of programs for all examples of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qmpd.profile.shipped import DEFAULT
from tests.differential.pair import Pair
from tests.support.versions import SYSTEM


@pytest.fixture(scope="module")
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Of the default version; of all with `on_each_version`, or `on_each_program`."""
    program, _, version = getattr(request, "param", DEFAULT).rpartition("-")
    pair = Pair(tmp_path_factory.mktemp("pair"), version=version, program=program or SYSTEM)
    yield pair
    pair.close()
