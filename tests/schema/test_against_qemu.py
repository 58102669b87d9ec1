"""The schema says what a real QEMU says: names, types, order, features, optionality, flags."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd import profile
from qmpd.profile.shipped import directory
from tests.schema.comparison import Comparison
from tests.schema.conftest import COMMAND_LINES, StartProgram
from tests.schema.reading import Definition, Definitions

BEYOND_QEMU = profile.load("10.0").beyond
PROGRAMS = list(COMMAND_LINES)
RECORDED_ORDERS = {
    "qemu-system-x86_64": "system-emulator.json",
    "qemu-storage-daemon": "storage-daemon.json",
}


def _recorded(version: str, program: str) -> dict[str, Any]:
    text = Path(directory(version), RECORDED_ORDERS[program]).read_text(encoding="utf-8")
    recorded: dict[str, Any] = json.loads(text)
    return recorded


@pytest.mark.parametrize("program", PROGRAMS)
def test_commands_and_events_are_the_same(
    program: str, definitions: Definitions, start: StartProgram
) -> None:
    infos = start(program).ask("query-qmp-schema")

    differences = Comparison(definitions, infos).differences()

    assert not differences, f"differs from {program}:\n" + "\n".join(differences)


def test_every_type_is_compared(definitions: Definitions, start: StartProgram) -> None:
    comparison = Comparison(definitions, start("qemu-system-x86_64").ask("query-qmp-schema"))
    comparison.differences()
    kinds = ("enum", "struct", "union", "alternate")
    types = {d.name for kind in kinds for d in definitions.of_kind(kind)}

    if "ObjectOptions" in types and not isinstance(definitions.arguments("object-add"), str):
        # objects had properties without a schema then; qmpd's own are read by ObjectOptions
        types -= set(_made_of(definitions, "ObjectOptions"))
    if "query-audiodevs" not in definitions:
        # of the command line alone
        types -= set(_made_of(definitions, "Audiodev"))
    hidden = types - set(comparison.compared_types())

    # A base shows as members of what is derived from it, and the classes of errors do not show.
    bases = {d.body["base"] for d in definitions.of_kind("struct") if "base" in d.body}
    bases |= {
        d.body["base"] for d in definitions.of_kind("union") if isinstance(d.body["base"], str)
    }
    beyond = {name for command in BEYOND_QEMU for name in _list_elements(definitions, command)}
    assert hidden <= bases | beyond | {"QapiErrorClass"}


def _made_of(definitions: Definitions, name: str) -> Iterator[str]:
    """`name` and the types that it is made of."""
    if name not in definitions:
        return
    yield name
    body = definitions[name].body
    parts = [*definitions.members(name)] if definitions[name].kind != "enum" else []
    inner = [part.type for part in parts]
    inner += definitions.branches(name).values() if "discriminator" in body else []
    inner += [body.get("base")] if isinstance(body.get("base"), str) else []
    for each in inner:
        if each is not None:
            yield from _made_of(definitions, each[0] if isinstance(each, list) else each)


def _list_elements(definitions: Definitions, command: str) -> list[str]:
    arguments = definitions.arguments(command)
    return [part.type[0] for part in arguments if not isinstance(part, str) and part.type]


def test_nothing_is_ours_alone(definitions: Definitions, start: StartProgram) -> None:
    theirs = {info["name"] for info in start("qemu-system-x86_64").ask("query-qmp-schema")}

    ours = [d.name for kind in ("command", "event") for d in definitions.of_kind(kind)]

    assert [name for name in ours if name not in theirs] == list(BEYOND_QEMU)


def test_all_of_the_storage_daemon_is_there(definitions: Definitions, start: StartProgram) -> None:
    infos = start("qemu-storage-daemon").ask("query-qmp-schema")

    theirs = [info["name"] for info in infos if info["meta-type"] in ("command", "event")]

    assert [name for name in theirs if name not in definitions] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_recorded_orders(version: str, program: str, start: StartProgram) -> None:
    running = start(program)
    recorded = _recorded(version, program)

    assert recorded["commands"] == [info["name"] for info in running.ask("query-commands")]
    assert recorded["events"] == [
        info["name"] for info in running.ask("query-qmp-schema") if info["meta-type"] == "event"
    ]


def test_storage_daemon_has_the_same_types() -> None:
    # Both programs pass the comparison above, with the same definitions.
    assert _recorded("10.0", "qemu-storage-daemon")["differences"] == {}


def test_allowed_before_the_machine_is_made(
    version: str, definitions: Definitions, start: StartProgram
) -> None:
    program = start("qemu-system-x86_64", "-preconfig")
    text = profile.load(version).texts.not_in_preconfig
    refused = set()
    commands = [c for c in definitions.of_kind("command") if c.name not in BEYOND_QEMU]
    for command in commands:
        # The unknown argument keeps the command from doing anything.
        answer = program.request(command.name, {"no-such-argument": 1})
        if "error" not in answer:
            assert command.body.get("gen") is False
        elif answer["error"]["desc"] == text.format(name=command.name):
            refused.add(command.name)

    allowed = {command.name for command in commands if command.body.get("allow-preconfig")}

    assert allowed == {command.name for command in commands} - refused


def _with_data(definition: Definition, data: object) -> Definition:
    return Definition(definition.kind, definition.name, {**definition.body, "data": data})


@pytest.mark.parametrize("version", ["10.0"], indirect=True)
@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        (
            "BlockDirtyBitmap",
            {"node": "str", "name": "str", "size": "int"},
            "BlockDirtyBitmap: only ours has size",
        ),
        ("BlockDirtyBitmap", {"node": "str"}, "BlockDirtyBitmap: lacks name"),
        (
            "BlockDirtyBitmap",
            {"name": "str", "node": "str"},
            "BlockDirtyBitmap: order ['name', 'node'], theirs ['node', 'name']",
        ),
        (
            "BlockDirtyBitmap",
            {"node": "str", "*name": "str"},
            "BlockDirtyBitmap.name: optional True, theirs False",
        ),
        (
            "BlockDirtyBitmap",
            {"node": "str", "name": "int"},
            "BlockDirtyBitmap.name: type 'int', theirs 'str'",
        ),
        (
            "BlockDirtyBitmap",
            {"node": "str", "name": ["str"]},
            "BlockDirtyBitmap.name: a list, theirs is of kind builtin",
        ),
        (
            "BlockDirtyBitmap",
            {"node": "str", "name": {"type": "str", "features": ["unstable"]}},
            "BlockDirtyBitmap.name: features ['unstable'], theirs []",
        ),
        ("MirrorCopyMode", ["background"], "MirrorCopyMode: lacks write-blocking"),
        ("BlockJobChangeOptions", {}, "BlockJobChangeOptions[mirror]: nothing, theirs is a type"),
        ("job-pause", {}, "job-pause: lacks id"),
        ("STOP", {"id": "str"}, "STOP: only ours has id"),
    ],
)
def test_differences_are_noticed(
    name: str,
    data: object,
    expected: str,
    definitions: Definitions,
    start: StartProgram,
) -> None:
    infos = start("qemu-system-x86_64").ask("query-qmp-schema")
    changed = definitions.replaced(_with_data(definitions[name], data))

    differences = Comparison(changed, infos).differences()

    assert expected in differences
