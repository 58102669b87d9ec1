"""Damaged schemas: whatever the text, an entity model or an error at a line of it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd.profile.shipped import schema_path
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.compiler.source import QapiError

PIECES = st.sampled_from(
    [
        *"{}[]:,'#&\n",
        "##\n",
        "# @Aa:\n",
        "# @x: y\n",
        "# Features:\n",
        "# Since: 1.0\n",
        "#     text\n",
        "#\n",
        "true",
        "'struct': 'Aa'",
        "'enum': 'Ee'",
        "'union': 'Uu'",
        "'command': 'c'",
        "'event': 'EV'",
        "'type': 'Tt'",
        "'data': ",
        "'base': 'Aa'",
        "'discriminator': 'x'",
        "{ 'x': 'Ee' }",
        "[ 'a', 'b' ]",
        "{ 'struct': 'Aa', 'data': { 'x': 'Ee' } }\n",
        "{ 'enum': 'Ee', 'data': [ 'a' ] }\n",
    ]
)


def check(path: Path, lines: int) -> None:
    """Compile; an error must be at one of the file's lines."""
    error: QapiError | None = None
    try:
        compile_schema(path)
    except QapiError as caught:
        error = caught
    assert error is None or error.message
    assert error is None or error.file != str(path) or 1 <= error.line <= lines


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(PIECES, max_size=30))
def test_any_tokens(tmp_path: Path, pieces: list[str]) -> None:
    path = tmp_path / "main.json"
    text = " ".join(pieces)
    path.write_text(text)
    check(path, text.count("\n") + 1)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=60))
def test_any_bytes(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "main.json"
    path.write_bytes(text)
    check(path, 61)


MODULES = ("common.json", "job.json", "authz.json", "sockets.json")


@pytest.mark.parametrize("module", MODULES)
def test_damaged_lines(tmp_path: Path, module: str) -> None:
    """Every line of a module once deleted, once doubled, once cut."""
    source = Path(schema_path()).parent
    lines = (source / module).read_text().split("\n")
    for name in MODULES:
        (tmp_path / name).write_text((source / name).read_text())
    path = tmp_path / f"damaged-{module}"
    chance = random.Random(module)
    for number, line in enumerate(lines):
        cut = line[: chance.randrange(len(line))] if line else "&"
        for damaged in ([], [line, line], [cut]):
            path.write_text("\n".join(lines[:number] + damaged + lines[number + 1 :]))
            check(path, len(lines) + 2)
