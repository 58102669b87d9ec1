"""The shape of the house: no circle of imports, and no import upwards.

Imports for types only, and imports inside functions, count like any other: a reader follows
them all the same.  `lint-imports` (make lint) holds the order of the layers; these tests hold
what its contracts cannot say.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Each module of qmpd with the modules that it imports."""
    graph = grimp.build_graph("qmpd", cache_dir=None)
    return {
        module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules
    }


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The sets of modules that import each other, directly or by way of others (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for below in sorted(imports[module]):
            if below not in index:
                visit(below)
                low[module] = min(low[module], low[below])
            elif below in stack:
                low[module] = min(low[module], index[below])
        if low[module] == index[module]:
            place = stack.index(module)
            if len(stack) - place > 1:
                found.append(sorted(stack[place:]))
            del stack[place:]

    for module in sorted(imports):
        if module not in index:
            visit(module)
    return found


def test_finder_finds_circles() -> None:
    sample = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "f"}, "f": {"e"}}
    assert circles(sample) == [["b", "c"], ["e", "f"]]


def test_no_circle(imports: dict[str, set[str]]) -> None:
    assert len(imports) > 400
    assert circles(imports) == []


def test_every_package_has_a_layer(imports: dict[str, set[str]]) -> None:
    """A package that no contract names is a wall that nobody guards."""
    contracts: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))[
        "tool"
    ]["importlinter"]["contracts"]
    house = next(c for c in contracts if c["name"] == "The layers of the house")
    assert house["exhaustive"]
    assert house["containers"] == ["qmpd"]
    assert house["ignore_imports"] == ["qmpd -> qmpd.**"]
