"""Entities in words, and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmpd.cli.schema import main
from qmpd.profile.shipped import schema_path
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.outputs.show import WIDTH, show
from tests.qapi.support import compiled, write

TEXT = """\
##
# @Kind:
#
# Kinds of things.
#
# @disk: keeps
#     bytes
#
# @net: moves bytes (since 2.0)
#
# Since: 1.0
##
{ 'enum': 'Kind', 'data': [ 'disk', { 'name': 'net', 'if': 'NET' } ] }
{ 'struct': 'Disk', 'data': { 'size': 'size' } }
{ 'union': 'Device', 'base': { 'kind': 'Kind' }, 'discriminator': 'kind',
  'data': { 'disk': 'Disk' } }
{ 'alternate': 'Ref', 'data': { 'name': 'str', 'all': [ 'Device' ] } }
##
# @plug:
#
# Plugs a device in.  This is a long paragraph of words that is to be filled again, on lines of
# the width of a terminal.
#
# @device: what to plug
#
# @force:
#     - do it
#     - now
#
# Features:
#
# @deprecated: as of 4.0
#
# @hot: also while it runs
#
# Returns: all there is now
#
# Errors:
#     - If there is no room
#
# .. note:: Mind the gap.
#
# Since: 3.0
##
{ 'command': 'plug',
  'data': { 'device': 'Device',
            '*force': { 'type': 'bool', 'features': [ 'deprecated' ] } },
  'returns': [ 'Device' ], 'allow-oob': true, 'features': [ 'hot' ] }
{ 'event': 'UNPLUGGED' }
"""

PLUG = """\
Plugs a device in. This is a long paragraph of words that is to be filled
again, on lines of the width of a terminal.

Arguments:
  device: Device
      what to plug
  force: bool, optional (deprecated)
      - do it
      - now

Returns: list of Device
    all there is now

Features:
  hot
      also while it runs

Errors:
    - If there is no room

.. note:: Mind the gap.
"""


def test_command(tmp_path: Path) -> None:
    text = show(compiled(tmp_path, TEXT).lookup("plug"))
    line = 1 + TEXT.split("\n").index("{ 'command': 'plug',")
    head, _, rest = text.partition("\n\n")
    assert " ".join(head.split()) == (
        f"command plug since 3.0; defined in {tmp_path}/main.json:{line}; "
        "may be executed out of band"
    )
    assert rest == PLUG


def test_types(tmp_path: Path) -> None:
    schema = compiled(tmp_path, TEXT[: TEXT.index("##\n# @plug")])
    assert "Values:\n  disk\n      keeps bytes\n  net (if NET)\n      moves" in show(
        schema.lookup("Kind")
    )
    device = show(schema.lookup("Device"))
    assert "union Device\n" in device
    assert "Members:\n  kind: Kind\n\nFurther members by kind:\n" in device
    assert "  disk: those of Disk\n  net: none (if NET)\n" in device
    assert "One of:\n  name: str\n  all: list of Device\n" in show(schema.lookup("Ref"))
    assert show(schema.lookup("DeviceList")).endswith("\nA list of Device.\n")
    assert show(schema.lookup("int")) == "built-in type int\n\nA JSON int.\n"
    assert show(schema.lookup("any")) == "built-in type any\n\nAny JSON value.\n"


def test_nothing_to_say(tmp_path: Path) -> None:
    schema = compiled(tmp_path, "{ 'command': 'c', 'gen': false }\n{ 'event': 'EV' }")
    command = show(schema.lookup("c"))
    assert "arguments are free-form" in command
    assert command.endswith("\nArguments: none\n\nReturns: nothing\n")
    assert show(schema.lookup("EV")).endswith("\nData: none\n")


def test_every_shipped_entity_can_be_shown() -> None:
    for name, entity in compile_schema(schema_path(), "10.0").entities.items():
        text = show(entity)
        assert name in text.split("\n")[0]
        long = [line for line in text.split("\n") if len(line) > WIDTH]
        assert not [line for line in long if " " in line.strip() and "defined in" not in line], name


class TestCommandLine:
    def test_check(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(tmp_path, {"good.json": "", "bad.json": "\n&", "worse.json": "{ 'command': 'c_' }"})
        good, bad, worse = (str(tmp_path / f"{n}.json") for n in ("good", "bad", "worse"))
        assert main(["check", good]) == 0
        assert capsys.readouterr() == ("", "")
        assert main(["check", bad, good, worse]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            f"{bad}:2: stray '&'\n"
            f"{worse}:1: In command 'c_': name of command must not use uppercase or '_'\n"
        )

    def test_check_of_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        missing = str(tmp_path / "nix.json")
        assert main(["check", missing]) == 1
        assert capsys.readouterr().err == (
            f"{missing}:1: can't read schema file '{missing}': No such file or directory\n"
        )

    def test_check_the_shipped_schema(self) -> None:
        assert main(["check", schema_path()]) == 0

    def test_show(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "block-dirty-bitmap-add"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("command block-dirty-bitmap-add\n    since 2.4; ")
        assert "\n  granularity: uint32, optional\n" in out

    def test_show_another_schema(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(tmp_path, {"main.json": "{ 'event': 'EV' }"})
        assert main(["show", "--schema", str(tmp_path / "main.json"), "EV"]) == 0
        assert capsys.readouterr().out.startswith("event EV\n")

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("blockdev-ad", "did you mean blockdev-add"),
            ("BLOCKDEVOPTIONS", "did you mean BlockdevOptions"),
            ("zzzzzzzz", "no 'zzzzzzzz' in 10.0\n"),
        ],
    )
    def test_show_unknown(self, capsys: pytest.CaptureFixture[str], name: str, hint: str) -> None:
        assert main(["show", name]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"qmpd schema: there is no '{name}' in 10.0")
        assert hint in err

    def test_show_in_a_faulty_schema(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(tmp_path, {"main.json": "&"})
        assert main(["show", "--schema", str(tmp_path / "main.json"), "EV"]) == 1
        assert capsys.readouterr().err == f"{tmp_path / 'main.json'}:1: stray '&'\n"

    def test_generate(self, tmp_path: Path) -> None:
        write(tmp_path, {"s.json": "{ 'struct': 'Ss', 'data': { 'x': 'int' } }"})
        out = tmp_path / "models"
        assert main(["generate", "--schema", str(tmp_path / "s.json"), "--output", str(out)]) == 0
        assert (out / "types.json").is_file()
        assert (out / "models" / "s.pyi").is_file()

    @pytest.mark.parametrize("arguments", [[], ["check"], ["show"], ["walk"]])
    def test_usage(self, arguments: list[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2

    def test_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["check", "--help"])
        assert caught.value.code == 0
        assert "FILE:LINE: MESSAGE" in capsys.readouterr().out
