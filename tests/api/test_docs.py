"""Every example in the docstrings of the public API runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import qmpd

ROOT = Path(qmpd.__file__).parents[1]


def modules_with_examples() -> list[str]:
    """The modules of qmpd in whose docstrings there are examples."""
    found = []
    for path in sorted(ROOT.glob("qmpd/**/*.py")):
        if ">>>" in path.read_text():
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(parts).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert result.failed == 0


def test_public_names() -> None:
    assert set(qmpd.__all__) <= set(dir(qmpd))
    for name in qmpd.__all__:
        assert getattr(qmpd, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Machin'"):
        _ = qmpd.Machin


def test_both_machines_have_the_same_methods_with_the_same_parameters() -> None:
    def shape(member: object) -> object:
        if isinstance(member, property) or not callable(member):
            return "value"
        parameters = inspect.signature(member).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    one, other = qmpd.Machine, qmpd.aio.Machine
    public = {name for name in dir(one) if not name.startswith("_")}
    only_sync = {"loop"}
    assert {name for name in dir(other) if not name.startswith("_")} == public - only_sync
    became_calls = {"nodes"}
    for name in public - only_sync - became_calls | {"__init__"}:
        assert shape(getattr(one, name)) == shape(getattr(other, name)), name
