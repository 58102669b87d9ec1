"""Every block of Python in docs/api.md runs, and prints what its comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number: int, tmp_path: Path) -> None:
    block = BLOCKS[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for promised in re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE):
        said = re.split(r": |, [a-z]", promised)[0] if promised not in done.stdout else promised
        assert said.removesuffix("...") in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_on_the_page() -> None:
    import qmpd

    text = PAGE.read_text("utf-8")
    for name in dir(qmpd.Machine):
        if not name.startswith("_") and name not in ("event_match", "closed"):
            assert re.search(rf"\b{name}\b", text), name
