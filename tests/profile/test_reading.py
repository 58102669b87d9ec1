"""Values become models, or errors in QEMU's words."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.errors import GenericError
from qmpd.qapi.runtime.policy import CompatPolicy
from tests.profile.schema_samples import HISTORIC, MODERN, WRAPPED, reader

OPTIONS = "Options"
DERIVED = "Derived"
MORE = "DoMoreArguments"
PLAIN: dict[str, Any] = {"kind": "plain"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (OPTIONS, {"kind": "bare"}),
        (OPTIONS, {"kind": "plain", "node-name": "n", "size": 5, "class": "c"}),
        (OPTIONS, {"kind": "plain", "next": {"next": {"next": {}}}}),
        (OPTIONS, {"kind": "nested", "depth": "two", "second": 2}),
        (
            DERIVED,
            {"name": "a", "u8": 255, "i8": -128, "u64": 2**64 - 1, "list": [{}, {"size": 1}]},
        ),
        (DERIVED, {"name": "a", "number": 1.5, "anything": {"x": [None]}, "nothing": None}),
        (DERIVED, {"name": "a", "bare-list": [], "x-new": {}}),
        *[(MORE, {"ref": ref}) for ref in ("r", None, {"kind": "bare"})],
        *[(MORE, {"ref": "r", "scalar": scalar}) for scalar in (5, False, -(2**63))],
        (MORE, {"ref": "r", "either": "old"}),
        (MORE, {"ref": "r", "either": {"kind": "old"}}),
    ],
)
def test_good_values_come_back_the_same(name: str, value: dict[str, Any]) -> None:
    assert reader(MODERN).read(name, value).plain() == value


def test_a_union_is_an_instance_of_its_branch() -> None:
    value = {"kind": "nested", "depth": "one", "first": 1, "node-name": "n"}

    options = reader(MODERN).read(OPTIONS, value)

    names = {cls.__name__ for cls in type(options).__mro__}
    assert {"Options", "Nested", "One"} <= names
    assert "Two" not in names
    assert (options.kind, options.node_name, options.depth, options.first) == (
        "nested",
        "n",
        "one",
        1,
    )


def test_absent_and_null_are_told_apart() -> None:
    read = reader(MODERN).read
    absent = read(DERIVED, {"name": "a"})
    null = read(DERIVED, {"name": "a", "nothing": None})

    assert absent.nothing is None
    assert null.nothing is None
    assert "nothing" not in absent.model_fields_set
    assert "nothing" in null.model_fields_set


def test_negative_unsigned_numbers_wrap_around() -> None:
    read = reader(MODERN).read

    assert read(DERIVED, {"name": "a", "u64": -1}).u64 == 2**64 - 1
    assert read(OPTIONS, {"kind": "plain", "size": -(2**63)}).size == 2**63
    assert read(DERIVED, {"name": "a", "list": [{"size": -5}]}).list_[0].size == 2**64 - 5


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (OPTIONS, {}, "Parameter 'kind' is missing"),
        (OPTIONS, {"kind": 5}, "Invalid parameter type for 'kind', expected: string"),
        (OPTIONS, {"kind": "?"}, "Parameter 'kind' does not accept value '?'"),
        (OPTIONS, {"kind": "bare", "size": 1}, "Parameter 'size' is unexpected"),
        (OPTIONS, {"kind": "plain", "size": 1.0}, "Parameter 'size' expects uint64"),
        (OPTIONS, {"kind": "plain", "size": 2**64}, "Parameter 'size' expects uint64"),
        (OPTIONS, {"kind": "plain", "size": True}, "Parameter 'size' expects uint64"),
        (OPTIONS, {"kind": "nested"}, "Parameter 'depth' is missing"),
        (OPTIONS, {"kind": "nested", "depth": "one", "second": 2}, "Parameter 'first' is missing"),
        (
            OPTIONS,
            {"kind": "plain", "next": {"next": {"class": 1}}},
            "Invalid parameter type for 'next.next.class', expected: string",
        ),
        (DERIVED, {"u8": "x"}, "Parameter 'name' is missing"),
        (DERIVED, {"name": "a", "u8": 256}, "Parameter 'u8' expects uint8_t"),
        (DERIVED, {"name": "a", "u8": -1}, "Parameter 'u8' expects uint8_t"),
        (DERIVED, {"name": "a", "u8": None}, "Parameter 'u8' expects uint64"),
        (DERIVED, {"name": "a", "i8": 128}, "Parameter 'i8' expects int8_t"),
        (DERIVED, {"name": "a", "i8": 1.5}, "Invalid parameter type for 'i8', expected: integer"),
        (
            DERIVED,
            {"name": "a", "i8": 2**63},
            "Invalid parameter type for 'i8', expected: integer",
        ),
        (
            DERIVED,
            {"name": "a", "list": {}},
            "Invalid parameter type for 'list', expected: array",
        ),
        (
            DERIVED,
            {"name": "a", "list": [{}, 5]},
            "Invalid parameter type for 'list[1]', expected: object",
        ),
        (DERIVED, {"name": "a", "list": [{"x": 1}]}, "Parameter 'list[0].x' is unexpected"),
        (DERIVED, {"name": "a", "bare-list": [1, -1]}, "Parameter 'null' expects uint16_t"),
        (DERIVED, {"name": "a", "bare-list": ["x"]}, "Parameter 'bare-list[0]' expects uint64"),
        (
            DERIVED,
            {"name": "a", "number": True},
            "Invalid parameter type for 'number', expected: number",
        ),
        (
            DERIVED,
            {"name": "a", "nothing": 0},
            "Invalid parameter type for 'nothing', expected: null",
        ),
        (
            MORE,
            {"ref": "r", "scalar": 1.5},
            "Invalid parameter type for 'scalar', expected: integer",
        ),
        (MORE, {"ref": 5}, "Invalid parameter type for 'ref', expected: Ref"),
        (MORE, {"ref": []}, "Invalid parameter type for 'ref', expected: Ref"),
        (MORE, {"ref": {}}, "Parameter 'ref.kind' is missing"),
        (MORE, {"ref": "r", "either": "x"}, "Parameter 'either' does not accept value 'x'"),
        (
            MORE,
            {"ref": "r", "either": None},
            "Invalid parameter type for 'either', expected: KindOrOptions",
        ),
    ],
)
def test_bad_values_get_the_first_error(name: str, value: dict[str, Any], message: str) -> None:
    with pytest.raises(GenericError) as caught:
        reader(MODERN).read(name, value)

    assert caught.value.desc == message


@pytest.mark.parametrize("text", [WRAPPED, HISTORIC])
def test_simple_unions_read_alike_in_both_styles(text: str) -> None:
    read = reader(text).read
    good = {"outer": [{"type": "inner", "data": {"value": 1}}, {"type": "text", "data": "t"}]}

    assert read("WrapArguments", good).plain() == good
    for value, message in (
        ({"outer": [{"type": "inner"}]}, "Parameter 'outer[0].data' is missing"),
        (
            {"outer": [{"type": "text", "data": "t"}, {"type": "inner", "data": {}}]},
            "Parameter 'outer[1].data.value' is missing",
        ),
        ({"outer": [{"type": "?", "data": {}}]}, "Parameter 'type' does not accept value '?'"),
    ):
        with pytest.raises(GenericError) as caught:
            read("WrapArguments", value)
        assert caught.value.desc == message


@pytest.mark.parametrize(
    ("policy", "value", "message"),
    [
        ({"unstable_input": "reject"}, {"x-new": 5}, "Unstable parameter x-new disabled by policy"),
        ({"deprecated_input": "reject"}, {"x-new": {}}, None),
        ({"unstable_input": "reject"}, {"u8": "x", "x-new": {}}, "Parameter 'u8' expects uint64"),
    ],
)
def test_policies_refuse_members(
    policy: dict[str, Any], value: dict[str, Any], message: str | None
) -> None:
    def read() -> Any:
        return reader(MODERN).read(DERIVED, {"name": "a", **value}, policy=CompatPolicy(**policy))

    if message is None:
        read()
        return
    with pytest.raises(GenericError) as caught:
        read()
    assert caught.value.desc == message


def test_policies_refuse_enum_values() -> None:
    policy = CompatPolicy(deprecated_input="reject")

    reader(MODERN).read(OPTIONS, {"kind": "bare"}, policy=policy)
    with pytest.raises(GenericError, match=r"^Deprecated value old disabled by policy$"):
        reader(MODERN).read(OPTIONS, {"kind": "old"}, policy=policy)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"u8": "0x10", "i8": "-010", "number": "1e1", "list": [{"size": "1.5k"}]}, None),
        ({"u8": "256"}, "Parameter 'u8' expects uint8_t"),
        ({"u8": "1k"}, "Parameter 'u8' expects integer"),
        ({"list": [{"size": "1.5"}]}, "Parameter 'list.0.size' expects size"),
        ({"u8": {"x": "1"}}, "Parameters 'u8.*' are unexpected"),
        ({"list": "x"}, "Invalid parameter type for 'list', expected: array"),
        ({"number": "nan"}, "Invalid parameter type for 'number', expected: number"),
    ],
)
def test_key_value_options(value: dict[str, Any], message: str | None) -> None:
    def read() -> Any:
        return reader(MODERN).read(DERIVED, {"name": "a", **value}, keyval=True)

    if message is None:
        assert read().plain() == {
            "name": "a",
            "u8": 16,
            "i8": -8,
            "number": 10.0,
            "list": [{"size": 1536}],
        }
        return
    with pytest.raises(GenericError) as caught:
        read()
    assert caught.value.desc == message


@pytest.mark.parametrize(
    ("innermost", "message"),
    [
        ({"x": 1}, f"Parameter '{'next.' * 1000}x' is unexpected"),
        ({}, "The arguments are nested too deeply"),
    ],
)
def test_very_deep_values_do_no_harm(innermost: dict[str, Any], message: str) -> None:
    value = innermost
    for _ in range(1000):
        value = {"next": value}

    with pytest.raises(GenericError) as caught:
        reader(MODERN).read("Plain", value)

    assert caught.value.desc == message
