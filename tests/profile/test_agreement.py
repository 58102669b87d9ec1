"""pydantic's models and the input visitor accept the same values."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd import profile
from qmpd.errors import GenericError
from qmpd.qapi.runtime.arguments import READ_PLAINLY, TOO_DEEP, Reader
from qmpd.qapi.runtime.plain_values import PlainValues
from qmpd.qapi.runtime.types import ModelBuilder, Struct
from qmpd.qapi.runtime.visitor import InputVisitor
from tests.profile.malformed import Malformed, as_parsed

PROFILE = profile.load("10.0")
COMMANDS = PROFILE.entry_points.commands
MODELS = ModelBuilder(PROFILE.types, "qmpd.profile.models")
TYPES = [name for name in PROFILE.types.names() if name != "q_empty"]


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(TYPES),
    st.randoms(use_true_random=False),
    st.sampled_from([0.0, 0.0, 0.01, 0.1]),
)
def test_models_accept_what_the_visitor_accepts(name: str, random: Random, defects: float) -> None:
    value = as_parsed(Malformed(PROFILE.types, random, defects).value(name))
    validate = MODELS.validator(name)
    try:
        read = InputVisitor(PROFILE.types).read(name, value)
    except GenericError:
        with pytest.raises(ValueError):
            validate(value)
        return

    model = validate(read)

    plain = model.plain() if hasattr(model, "plain") else model
    assert plain == read


@pytest.mark.parametrize("name", [info.name for info in COMMANDS.values() if info.arguments])
def test_every_command_has_a_model_for_its_arguments(name: str) -> None:
    arguments = COMMANDS[name].arguments
    assert arguments is not None

    assert PROFILE.reader.model(arguments).__name__ == arguments


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(TYPES), st.randoms(use_true_random=False))
def test_plain_objects_have_the_attributes_of_models(name: str, random: Random) -> None:
    value = as_parsed(Malformed(PROFILE.types, random, 0.0).value(name))
    try:
        read = InputVisitor(PROFILE.types).read(name, value)
    except GenericError:
        return

    plain = PlainValues(PROFILE.types).make(name, read)

    assert _shape(plain) == _shape(MODELS.validator(name)(read))


def _shape(value: Any) -> Any:
    """The attributes of all objects in a value."""
    if isinstance(value, list):
        return [_shape(each) for each in value]
    attributes = vars(value) if isinstance(value, (SimpleNamespace, Struct)) else None
    if attributes is None:
        return value
    # what only other versions have is None in a class, and so it is in an object
    return {name: _shape(each) for name, each in attributes.items() if each is not None}


def test_commands_are_read_without_pydantic_until_there_are_many() -> None:
    info = COMMANDS["block-dirty-bitmap-add"]
    reader = Reader(PROFILE.types, "qmpd.profile.models")
    arguments = {"node": "n", "name": "b", "granularity": 512}
    first = reader.arguments(info, arguments)
    for _ in range(READ_PLAINLY):
        last = reader.arguments(info, arguments)

    assert not isinstance(first, Struct)
    assert isinstance(last, Struct)
    assert _shape(first) == _shape(last)


def test_commands_are_read_by_models_that_are_ready() -> None:
    info = COMMANDS["block-dirty-bitmap-add"]
    reader = Reader(PROFILE.types, "qmpd.profile.models")
    assert info.arguments is not None
    reader.prepare(info.arguments)

    assert isinstance(reader.arguments(info, {"node": "n", "name": "b"}), Struct)


def test_arguments_nested_too_deeply_are_refused() -> None:
    options: dict[str, Any] = {"driver": "null-co"}
    for _ in range(3000):
        options = {"driver": "raw", "file": options}
    reader = Reader(PROFILE.types, "qmpd.profile.models")

    with pytest.raises(GenericError) as caught:
        reader.arguments(COMMANDS["blockdev-add"], options)

    assert caught.value.desc == TOO_DEEP
