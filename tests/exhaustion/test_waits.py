"""What one client asks for does not make the others wait.

A quiet monitor beside it asks all the time; ``python -m tests.exhaustion`` prints how long it waits
for the whole of each case, here a tenth has to do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exhaustion.beside import serving
from tests.exhaustion.cases import PARSED

MOST = 0.1
"""The longest wait of a quiet monitor, seconds."""

PART = 0.1


@pytest.mark.parametrize("case", PARSED)
def test_reading(case: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--disk", "disk0=1M", "--as", "system") as daemon:
        hostile = daemon.client()
        # what has to be imported is there
        hostile.execute("human-monitor-command", command_line="info status")
        with daemon.watch() as watch:
            assert PARSED[case](hostile, PART).startswith(b"{")
        assert watch.own < MOST, watch.worst
        hostile.close()
