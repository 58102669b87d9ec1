"""Every example in the docstrings of the public API runs."""

from __future__ import annotations

import doctest
import importlib
import inspect

import pytest

import qmpd

MODULES = (
    *(
        "qmpd",
        "qmpd.aio",
        "qmpd.errors",
        "qmpd.testing.server",
        "qmpd.testing.remote",
        "qmpd.testing.power",
    ),
    *(
        "qmpd.api.machine",
        "qmpd.api.faults",
        "qmpd.api.marks",
        "qmpd.api.handles",
        "qmpd.api.aio",
        "qmpd.api.events",
    ),
    *("qmpd.sim.journal.journal", "qmpd.sim.journal.matchers", "qmpd.testing.case"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
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
