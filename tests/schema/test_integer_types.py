"""The widths of integers, which introspection hides, as a real QEMU enforces them."""

from __future__ import annotations

import re

from tests.schema.conftest import RealProgram, StartProgram
from tests.schema.reading import Definitions
from tests.schema.samples import Samples, Wrap

_NOT_AN_INTEGER = "x"
_TOO_MUCH_FOR_32_BITS = 1 << 40

SAME_IN_QMP = {"int64": "int", "size": "uint64"}
"""Types that no request can tell from another one."""


def _enforced_type(program: RealProgram, command: str, wrap: Wrap) -> str:
    """What QEMU takes an argument for, by the errors it reports."""
    wide = program.request(command, wrap(_TOO_MUCH_FOR_32_BITS))["error"]["desc"]
    narrow = re.search(r"expects (u?int\d+)_t$", wide)
    if narrow is not None:
        return narrow.group(1)
    assert wide == "Parameter 'no-such-argument' is unexpected"
    wrong = program.request(command, wrap(_NOT_AN_INTEGER))["error"]["desc"]
    if wrong.endswith("expects uint64"):
        return "uint64"
    assert wrong.endswith("expected: integer"), wrong
    return "int"


def test_integer_types(definitions: Definitions, start: StartProgram) -> None:
    program = start("qemu-system-x86_64")
    expected = {}
    enforced = {}
    for place, type_name, command, wrap in Samples(definitions).integers():
        expected[place] = SAME_IN_QMP.get(type_name, type_name)
        enforced[place] = _enforced_type(program, command, wrap)

    assert expected == enforced
    assert len(expected) > 180
