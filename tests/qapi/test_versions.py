"""Schemas that hold several versions, and what changed between two of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qmpd.cli.schema import main
from qmpd.profile.shipped import VERSIONS
from qmpd.qapi.compiler.entities import Command, EnumType, ObjectType, Schema
from qmpd.qapi.compiler.schema import changes, compile_schema
from qmpd.qapi.compiler.source import QapiError
from qmpd.qapi.outputs.diff import Change, diff
from tests.qapi.support import fault, write

TEXT = """
##
# @Kind:
#
# @a: the first
#
# @b: another
#
# @c: a third one
#
# Features:
#
# @deprecated: Values @a and @c.
##
{ 'enum': 'Kind',
  'data': [ { 'name': 'a', 'features': [ { 'name': 'deprecated', 'if': 'SINCE_3_0' } ] },
            { 'name': 'b', 'if': 'SINCE_2_1' },
            { 'name': 'c', 'features': [ 'deprecated' ], 'if': { 'not': 'SINCE_3_0' } } ] }

##
# @Base:
#
# @kind: which
##
{ 'struct': 'Base',
  'data': { 'kind': { 'type': 'str', 'if': { 'not': 'SINCE_2_1' } },
            'kind': { 'type': 'Kind', 'if': 'SINCE_2_1' } } }

##
# @Thing:
##
{ 'struct': 'Thing', 'base': 'Base', 'data': {}, 'if': { 'not': 'SINCE_2_1' } }

##
# @More:
#
# @x: what
##
{ 'struct': 'More', 'data': { 'x': 'int' }, 'if': 'SINCE_2_1' }

##
# @Thing:
##
{ 'union': 'Thing', 'base': 'Base', 'discriminator': 'kind', 'data': { 'b': 'More' },
  'if': 'SINCE_2_1' }

##
# @get:
#
# @size: how much
#
# @name: whose
#
# @if: when
#
# Returns: things
##
{ 'command': 'get',
  'data': { '*size': { 'type': 'int', 'if': 'SINCE_2_1' },
            'size': { 'type': 'int', 'if': { 'not': 'SINCE_2_1' } },
            'name': { 'type': 'str', 'if': { 'all': [ 'SINCE_2_0', { 'not': 'SINCE_3_0' } ] } },
            'if': 'str' },
  'returns': { 'value': 'Base', 'if': { 'not': 'SINCE_3_0' } },
  'returns': { 'value': 'Thing', 'if': 'SINCE_3_0' },
  'allow-preconfig': { 'value': true, 'if': { 'any': [ 'SINCE_3_0', 'SINCE_4_0' ] } } }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path, {"main.json": TEXT})
    return tmp_path / "main.json"


def _schemas(path: Path) -> list[Schema]:
    return [compile_schema(path, version) for version in ("1.0", "2.1", "3.0")]


def test_versions_are_those_that_are_mentioned(path: Path) -> None:
    assert changes(path) == ["2.0", "2.1", "3.0", "4.0"]


def test_values_and_features(path: Path) -> None:
    found = []
    for schema in _schemas(path):
        kind = schema.lookup("Kind")
        assert isinstance(kind, EnumType)
        found.append({v.name: [feature.name for feature in v.features] for v in kind.members})

    assert found == [
        {"a": [], "c": ["deprecated"]},
        {"a": [], "b": [], "c": ["deprecated"]},
        {"a": ["deprecated"], "b": []},
    ]


def test_a_member_may_change_its_type_and_a_type_its_kind(path: Path) -> None:
    old, new, _ = (schema.lookup("Thing") for schema in _schemas(path))
    assert isinstance(old, ObjectType)
    assert isinstance(new, ObjectType)
    assert (old.discriminator, [m.type.name for m in old.members()]) == (None, ["str"])
    assert new.discriminator is not None
    assert [branch.name for branch in new.branches] == ["b", "a", "c"]


def test_commands(path: Path) -> None:
    found = []
    for schema in _schemas(path):
        command = schema.lookup("get")
        assert isinstance(command, Command)
        assert command.arguments is not None
        assert command.returns is not None
        members = {member.name: member.optional for member in command.arguments.members()}
        found.append((members, command.returns.name, command.allow_preconfig))

    assert found == [
        ({"size": False, "if": False}, "Base", False),
        ({"size": True, "name": False, "if": False}, "Base", False),
        ({"size": True, "if": False}, "Thing", True),
    ]


def test_what_is_said_of_parts_goes_with_them(path: Path) -> None:
    old, _, new = (schema.lookup("Kind").doc for schema in _schemas(path))
    assert old is not None
    assert new is not None
    assert [section.name for section in old.sections] == ["a", "c", "deprecated"]
    assert [section.name for section in new.sections] == ["a", "b", "deprecated"]


def test_other_conditions_stay(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "main.json": """
            { 'event': 'A', 'if': { 'all': [ 'SINCE_2_0', 'POSIX' ] } }
            { 'event': 'B', 'if': { 'not': { 'any': [ 'SINCE_2_0', 'POSIX' ] } } }
            { 'event': 'C', 'if': { 'all': [ 'LINUX', 'SINCE_2_0', 'POSIX' ] } }
            """
        },
    )
    conditions = [
        {
            event.name: event.condition and event.condition.expression
            for event in compile_schema(tmp_path / "main.json", version).events()
        }
        for version in ("1.0", "2.0")
    ]
    assert conditions == [{"B": {"not": "POSIX"}}, {"A": "POSIX", "C": {"all": ["LINUX", "POSIX"]}}]


def test_a_key_stands_twice_only_where_versions_differ(tmp_path: Path) -> None:
    twice = "{ 'struct': 'S', 'data': { 'a': %s, 'a': %s } }"
    since = "{ 'type': 'int', 'if': 'SINCE_2_0' }"
    for pair in (("'int'", "'int'"), (since, "'int'"), ("{ 'type': 'int', 'if': 'X' }", since)):
        assert fault(tmp_path, twice % pair) == "main.json:1: duplicate key 'a'"


def test_two_that_hold_at_once_are_two(tmp_path: Path) -> None:
    write(tmp_path, {"main.json": "{ 'event': 'E', 'if': 'SINCE_2_0' }\n{ 'event': 'E' }"})
    compile_schema(tmp_path / "main.json", "1.0")
    with pytest.raises(QapiError, match="'E' is already defined"):
        compile_schema(tmp_path / "main.json", "2.0")


def test_check_looks_at_every_version(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(path)]) == 0
    faulty = TEXT.replace(
        "{ 'struct': 'More', 'data': { 'x': 'int' }", "{ 'struct': 'More', 'data': { 'x': 'no' }"
    )
    path.write_text(faulty, encoding="utf-8")
    assert main(["check", str(path)]) == 1
    assert "In struct 'More': member 'x' uses unknown type 'no'" in capsys.readouterr().err


def test_differences(path: Path) -> None:
    old, middle, new = _schemas(path)
    assert diff(middle, middle) == []
    assert diff(old, middle) == [
        Change("came", "type", "Kind", "b"),
        Change("changed", "type", "Base", "kind", "Kind, before str"),
        Change("changed", "type", "Thing", "kind", "Kind, before str"),
        Change("changed", "type", "Thing", None, "depends on kind"),
        Change("came", "command", "get", "name", "str"),
        Change("changed", "command", "get", "size", "may be left out now"),
        Change("came", "type", "More"),
    ]
    assert diff(middle, new) == [
        Change("deprecated", "type", "Kind", "a", "Values @a and @c."),
        Change("went", "type", "Kind", "c"),
        Change("went", "command", "get", "name"),
        Change("changed", "command", "get", None, "returns Thing, before Base"),
        Change("changed", "command", "get", None, "may come before the machine is made"),
    ]
    assert diff(middle, new, "Base") == diff(middle, new)[:2]


class TestCommandLine:
    def test_show(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "block-stream", "--version", "5.2"]) == 0
        old = capsys.readouterr().out
        assert main(["show", "block-stream"]) == 0
        new = capsys.readouterr().out
        assert ("  bottom: str" in old, "  bottom: str" in new) == (False, True)

    def test_diff(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diff", "5.2", "11.1", "block-stream"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("Came after 5.2, at the latest with 11.1:\n")
        assert "\n  command block-stream: bottom (str; SINCE_6_0)\n" in out
        assert main(["diff", "5.2", "7.2", "drive-backup", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {"what": "deprecated", "kind": "command", "name": "drive-backup"} in [
            {key: change[key] for key in ("what", "kind", "name")} for change in found
        ]

    def test_options_and_names_in_any_order(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = []
        for words in (["--json", "5.2", "6.2", "JobType"], ["5.2", "6.2", "--json", "JobType"]):
            assert main(["diff", *words]) == 0
            said.append(json.loads(capsys.readouterr().out))
        assert said[0] == said[1]
        assert said[0][0] == {
            "what": "came",
            "kind": "type",
            "name": "JobType",
            "part": "snapshot-load",
            "detail": "",
            "condition": "SINCE_6_0",
        }

    def test_backwards(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diff", "11.1", "5.2", "block-stream"]) == 0
        assert "In 11.1, and not in 5.2:\n" in capsys.readouterr().out

    def test_what_takes_its_place(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diff", "10.0", "11.1", "block-job-pause"]) == 0
        assert "\n  command block-job-pause (Use job-pause.)\n" in capsys.readouterr().out

    def test_nothing_changed(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diff", "7.2", "7.2"]) == 0
        assert capsys.readouterr().out == "nothing changed from 7.2 to 7.2\n"

    def test_unknown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["diff", "5.2", "12.0"]) == 1
        assert (
            f"there is no version 12.0 (there are: {', '.join(VERSIONS)})"
            in capsys.readouterr().err
        )
        assert main(["diff", "5.2", "11.1", "blockdev-ad"]) == 1
        assert (
            "neither 5.2 nor 11.1 has 'blockdev-ad'; did you mean blockdev-add"
            in capsys.readouterr().err
        )
        assert main(["show", "blockdev-ad"]) == 1
        assert "there is no 'blockdev-ad' in 10.0; did you mean blockdev-add" in (
            capsys.readouterr().err
        )

    def test_another_version_has_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "block_passwd"]) == 1
        said = "qmpd schema: there is no 'block_passwd' in 10.0; it is in 5.2\n"
        assert capsys.readouterr().err == said
