"""One pair of programs for all examples of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.pair import Pair
from tests.support.programs import qemu_missing


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()
