"""The schema files themselves: layout, documentation, and what is kept beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qmpd.profile.shipped import VERSIONS
from qmpd.qapi.compiler.schema import compile_schema
from tests.schema.reading import SCHEMA_DIRECTORY, read_definitions
from tests.support.introspection import infos_of

CONTROL = sorted(SCHEMA_DIRECTORY.glob("sim*.json"))
"""The modules of the control monitor, which no QEMU has."""
MODULES = sorted(
    path
    for path in SCHEMA_DIRECTORY.glob("*.json")
    if "'" in path.read_text(encoding="utf-8") and path not in CONTROL
)
HISTORIC = sorted((SCHEMA_DIRECTORY / "historic").glob("*.json"))


@pytest.mark.parametrize("path", [*MODULES, *CONTROL, *HISTORIC], ids=lambda path: path.stem)
def test_layout(path: Path) -> None:
    text = path.read_text(encoding="ascii")

    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert [line for line in text.splitlines() if len(line) > 79 or line != line.rstrip()] == []


def test_every_module_is_included() -> None:
    included = re.findall(r"'include': '(.*)'", (SCHEMA_DIRECTORY / "qmpd.json").read_text())

    assert sorted([*included, "qmpd.json"]) == [path.name for path in MODULES]


def test_every_module_of_the_control_monitor_is_included() -> None:
    main = SCHEMA_DIRECTORY / "sim.json"
    included = re.findall(r"'include': '(sim.*)'", main.read_text())

    assert sorted([*included, "sim.json"]) == [path.name for path in CONTROL]


def test_every_definition_of_the_control_monitor_has_its_age() -> None:
    blocks = [
        block
        for path in CONTROL
        for block in re.findall(r"^##\n(.*?)^##\n", path.read_text(), re.MULTILINE | re.DOTALL)
    ]

    assert blocks
    assert [block for block in blocks if "\n# Since: 0.2\n" not in block] == []


def test_every_definition_has_its_age() -> None:
    names = {name for version in VERSIONS for name in read_definitions(version).names()}
    documented = {}
    for path in MODULES:
        for block in re.findall(r"^##\n(.*?)^##\n", path.read_text(), re.MULTILINE | re.DOTALL):
            name = re.match(r"# @(.*):\n", block)
            assert name is not None
            documented[name[1]] = re.search(r"^# Since: \d+\.\d+$", block, re.MULTILINE)

    assert [name for name, since in documented.items() if since is None] == []
    assert documented.keys() == names


@pytest.mark.parametrize("version", VERSIONS)
def test_compiles(version: str) -> None:
    schema = compile_schema(SCHEMA_DIRECTORY / "qmpd.json", version)
    definitions = read_definitions(version)

    for kind, compiled in (("command", schema.commands()), ("event", schema.events())):
        assert [entity.name for entity in compiled] == [d.name for d in definitions.of_kind(kind)]


def test_historic_group_snapshot_compiles() -> None:
    historic = compile_schema(SCHEMA_DIRECTORY / "historic" / "group-snapshot.json")
    (command,) = historic.commands()

    assert command.name == "blockdev-group-snapshot-sync"
    assert command.features == ()


def test_the_group_snapshot_is_that_of_2012_but_deprecated() -> None:
    name = "blockdev-group-snapshot-sync"
    then, now = (
        infos_of(compile_schema(SCHEMA_DIRECTORY / path, "10.0"), [name])
        for path in ("historic/group-snapshot.json", "qmpd.json")
    )

    assert now[0].pop("features") == ["deprecated"]
    assert now == then


def test_historic_transaction_compiles() -> None:
    schema = compile_schema(SCHEMA_DIRECTORY / "historic" / "transaction.json")

    assert [command.name for command in schema.commands()] == ["transaction"]
