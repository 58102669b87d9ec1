"""docs/architecture.md names no module that there is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

PATH: Final = re.compile(r"`([a-z_0-9]+(?:/[a-z_0-9]+)+(?:\.py)?)`")
"""A module, a package or a folder, as it is named there: by the end of its path."""


def missing(page: str) -> list[str]:
    """The paths named on a page that are of nothing in the house."""
    there = {
        str(path.relative_to(ROOT).with_suffix(""))
        for folder in ("qmpd", "tests", "schema", "docs", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in ("", ".py")
    }
    named = [name.removesuffix(".py") for name in PATH.findall(page)]
    return [
        name
        for name in named
        if not any(path == name or path.endswith(f"/{name}") for path in there)
    ]


def test_what_is_missing_is_found() -> None:
    assert missing("`block/model/node`, `tests/fuzz`, `block/no_such`") == ["block/no_such"]


def test_modules_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert len(PATH.findall(page)) > 50
    assert missing(page) == []
