"""pydantic's models and the input visitor accept the same values."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd import profile
from qmpd.errors import GenericError
from qmpd.qapi.runtime.types import ModelBuilder
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
