"""Modules and functions stay short enough to be read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

MOST_OF_A_MODULE: Final = 400
"""Lines; a longer one holds two ideas."""

MOST_OF_A_FUNCTION: Final = 60
"""Lines, besides its docstring."""

SAMPLE: Final = '''\
class Thing:
    def method(self) -> int:
        """Tell a number.

        In many words.
        """
        return 1


async def work() -> None:
    def inner() -> None:
        pass

    inner()
'''


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The functions of a module, with the numbers of their lines but those of docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            said = 0
            if ast.get_docstring(node) is not None:
                said = (first.end_lineno or 0) - first.lineno + 1
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - said


def test_lines_are_counted() -> None:
    assert dict(functions(ast.parse(SAMPLE))) == {"method": 2, "work": 5, "inner": 2}


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    paths = (ROOT / "qmpd").rglob("*.py")
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}


def test_modules_are_short(sources: dict[str, str]) -> None:
    lengths = {path: text.count("\n") for path, text in sources.items()}
    assert len(lengths) > 400
    assert {p: n for p, n in lengths.items() if n > MOST_OF_A_MODULE} == {}


def test_functions_are_short(sources: dict[str, str]) -> None:
    long = {
        f"{path}: {name}": lines
        for path, text in sources.items()
        for name, lines in functions(ast.parse(text, path))
        if lines > MOST_OF_A_FUNCTION
    }
    assert long == {}
