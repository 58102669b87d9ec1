"""Older dialects, and that nothing but evidence makes a schema old."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmpd.qapi.compiler.entities import AlternateType, Command, Condition, EnumType, ObjectType
from tests.qapi.support import compiled, fault

SCHEMA_2012 = """\
# a comment

##
# @FirstWord
#
# Words of 2012, @not: as today.
##
{ 'enum': 'FirstWord', 'data': [ 'UPPER', 'lower_case' ] }

## And other comments
{ 'type': 'name_info', 'data': { '*name': 'str', 'at': { 'x': 'int', '*y': 'int' } } }
{ 'type': 'More', 'base': 'name_info', 'data': { 'word': 'FirstWord' } }
{ 'command': 'query_name', 'returns': 'int' }
{ 'command': 'netdev_put', 'data': { 'type': 'str', '*props': '**' }, 'gen': 'no' }
{ 'command': 'get', 'data': { 'path': 'str' }, 'returns': 'visitor', 'gen': 'no' }
{ 'command': 'leave', 'success-response': 'no' }
{ 'union': 'Client', 'data': { 'name': 'name_info', 'names': [ 'str' ] } }
{ 'union': 'Ref', 'discriminator': {}, 'data': { 'definition': 'More', 'reference': 'str' } }
{ 'type': 'Start', 'data': { 'driver': 'str' } }
{ 'union': 'Options', 'base': 'Start', 'discriminator': 'driver', 'data': { 'file': 'More' } }
"""


class Test2012:
    def test_structs(self, tmp_path: Path) -> None:
        schema = compiled(tmp_path, SCHEMA_2012)
        more = schema.lookup("More")
        assert isinstance(more, ObjectType)
        assert [member.name for member in more.members()] == ["name", "at", "word"]
        assert more.doc is None

    def test_anonymous_struct(self, tmp_path: Path) -> None:
        info = compiled(tmp_path, SCHEMA_2012).lookup("name_info")
        assert isinstance(info, ObjectType)
        place = info.local_members[1].type
        assert isinstance(place, ObjectType)
        assert place.implicit
        assert [(m.name, m.optional) for m in place.members()] == [("x", False), ("y", True)]

    def test_flags_and_untyped(self, tmp_path: Path) -> None:
        schema = compiled(tmp_path, SCHEMA_2012)
        put, get, leave = schema.lookup("netdev_put"), schema.lookup("get"), schema.lookup("leave")
        assert isinstance(put, Command)
        assert isinstance(get, Command)
        assert isinstance(leave, Command)
        assert put.arguments is not None
        assert [m.type.name for m in put.arguments.members()] == ["str", "any"]
        assert (put.gen, leave.success_response) == (False, False)
        assert get.returns is schema.lookup("any")

    def test_unions(self, tmp_path: Path) -> None:
        schema = compiled(tmp_path, SCHEMA_2012)
        assert isinstance(schema.lookup("Ref"), AlternateType)
        options = schema.lookup("Options")
        assert isinstance(options, ObjectType)
        assert [(b.name, b.type.name) for b in options.branches] == [("file", "More")]

    def test_still_checked(self, tmp_path: Path) -> None:
        text = SCHEMA_2012 + "{ 'type': 'Last', 'data': { 'x': 'Nix' } }"
        assert fault(tmp_path, text).endswith(
            "In struct 'Last': member 'x' uses unknown type 'Nix'"
        )
        assert fault(tmp_path, SCHEMA_2012 + "&").endswith(": stray '&'")

    def test_one_old_struct_does_not_make_a_schema_old(self, tmp_path: Path) -> None:
        text = "{ 'type': 'Old', 'data': {} }\n{ 'struct': 'New', 'data': { 'o': 'Old' } }\n"
        compiled(tmp_path, text)
        error = fault(tmp_path, text + "{ 'command': 'do_it' }")
        assert error.startswith("main.json:3: In command 'do_it': name of command must not use")


SIMPLE = """\
{ 'struct': 'Aa', 'data': { 'x': 'int' }, 'if': 'defined(AA)' }
{ 'union': 'Simple', 'data': { 'one': 'Aa', 'many': { 'type': [ 'str' ], 'if': [ 'X', 'Y' ] } } }
"""


class TestSimpleUnions:
    def test_implicit_types(self, tmp_path: Path) -> None:
        schema = compiled(tmp_path, SIMPLE)
        simple, kind = schema.lookup("Simple"), schema.lookup("SimpleKind")
        assert isinstance(simple, ObjectType)
        assert isinstance(kind, EnumType)
        assert kind.implicit
        assert [value.name for value in kind.members] == ["one", "many"]
        assert simple.base is None
        assert simple.discriminator is simple.local_members[0]
        assert simple.discriminator.type is kind
        one, many = simple.branches
        assert one.type is schema.lookup("q_obj_Aa-wrapper")
        assert one.type.condition == Condition("defined(AA)")
        assert many.type is schema.lookup("q_obj_strList-wrapper")
        assert many.condition == Condition({"all": ["X", "Y"]})
        (data,) = many.type.members()
        assert (data.name, data.type) == ("data", schema.lookup("strList"))

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("{ 'union': 'Uu', 'data': {} }", "In union 'Uu': union has no branches"),
            ("{ 'union': 'Uu', 'data': [] }", "In union 'Uu': 'data' must be an object"),
            (
                "{ 'union': 'Uu', 'data': { 'x': 'Nix' } }",
                "In union 'Uu': union uses unknown type 'Nix'",
            ),
            (
                "{ 'union': 'Uu', 'data': { '__a.b_x': 'int', '__a-b_x': 'int' } }",
                "In union 'Uu': branch '__a-b_x' collides with branch '__a.b_x'",
            ),
            (
                "{ 'union': 'Uu', 'data': { 'A': 'int' } }",
                "In union 'Uu': name of 'data' member 'A' must",
            ),
            (
                "{ 'union': 'Uu', 'data': { 'x': 'int' }, 'x': 'y' }",
                "In union 'Uu': union misses keys 'base', 'discriminator'",
            ),
            (
                "{ 'struct': 'UuKind', 'data': {} }",
                "In struct 'UuKind': struct name should not end in",
            ),
            (
                "{ 'command': 'c', 'data': 'Simple' }",
                "In command 'c': command's 'data' can take union",
            ),
        ],
    )
    def test_fault(self, tmp_path: Path, text: str, error: str) -> None:
        assert fault(tmp_path, SIMPLE + text).startswith(f"main.json:3: {error}")


def documented(count: int, since: str, *more: str) -> str:
    """`count` structs with doc, an undocumented member each."""
    lines = "".join(f"# {line}\n" for line in more)
    return "".join(
        f"##\n# @Ss{n}:\n#\n# @x: a number\n#\n{lines}# Since: {since}\n##\n"
        f"{{ 'struct': 'Ss{n}', 'data': {{ 'x': 'int', 'y': 'int' }} }}\n"
        for n in range(count)
    )


class TestAge:
    LACKS = "main.json:8: In struct 'Ss0': member 'y' lacks documentation"

    def test_old_sections(self, tmp_path: Path) -> None:
        schema = compiled(tmp_path, documented(2, "7.2", "Note: this", "      and that"))
        doc = schema.lookup("Ss0").doc
        assert doc is not None
        assert [(s.kind, s.text) for s in doc.sections[1:]] == [
            ("note", "this\nand that"),
            ("since", "7.2"),
        ]

    def test_one_old_section_is_a_mistake(self, tmp_path: Path) -> None:
        error = fault(tmp_path, documented(1, "7.2", "Note: this"))
        assert error.startswith("main.json:6: The 'Note' section is no longer supported.")

    def test_young_schema_with_old_sections(self, tmp_path: Path) -> None:
        error = fault(tmp_path, documented(3, "9.1", "Note: this"))
        assert error.startswith("main.json:6: The 'Note' section is no longer supported.")

    @pytest.mark.parametrize("since", ["7.2", "2.3", "0.14.0", "10.0", "10.2"])
    def test_today_by_today_s_rules(self, tmp_path: Path, since: str) -> None:
        """Dates alone make nothing old that can be read as it is read today."""
        assert fault(tmp_path, documented(25, since)) == self.LACKS

    def test_dated(self, tmp_path: Path) -> None:
        old = documented(25, "7.2", "@y:", "number") + "##\n# Text.\n#\n# = Heading\n##\n"
        compiled(tmp_path, old)

    def test_historic_blocks_are_told_as_a_whole(self, tmp_path: Path) -> None:
        text = documented(25, "7.2", "@z:", "number")
        assert fault(tmp_path, text) == "main.json:1: documented member 'z' does not exist"

    @pytest.mark.parametrize(
        ("lines", "line", "message"),
        [
            (("@x: again",), 6, "'x' parameter name duplicated"),
            (("Note: this", "@y: number"), 7, "'@y:' can't follow 'Note' section"),
            (("Note:", "Example: x"), 7, "empty doc section 'Note'"),
            (("= Heading",), 6, "unexpected '=' markup in definition documentation"),
            (("Example: x", " y"), 7, "unexpected de-indent (expected at least 9 spaces)"),
            (("Since: 7.0",), 7, "duplicated 'Since' section"),
            (("Returns: x", "         y"), 1, "'Returns:' is only valid for commands"),
        ],
    )
    def test_historic_faults(
        self, tmp_path: Path, lines: tuple[str, ...], line: int, message: str
    ) -> None:
        bad = documented(1, "7.2", *lines).replace("Ss0", "Bad")
        old = documented(25, "7.2", "Note: x")
        error = fault(tmp_path, bad + old)
        assert error == f"main.json:{line}: {message}"

    def test_plain_comments(self, tmp_path: Path) -> None:
        text = "\n".join(
            f"##\n# @anything{n}\n#\n# @x: #optional text\n# Since: 2.5\n##\n"
            f"{{ 'struct': 'st_{n}', 'data': {{ 'A_b': 'int' }} }}"
            for n in range(20)
        )
        schema = compiled(tmp_path, text + "\n{ 'command': 'Do_it', 'returns': 'int' }")
        assert schema.lookup("st_0").doc is None

    def test_renamed_pragmas(self, tmp_path: Path) -> None:
        text = """\
            { 'pragma': { 'name-case-whitelist': [ 'Loud' ], 'returns-whitelist': [ 'get_it' ] } }
            { 'command': 'get_it', 'returns': 'int' }
            { 'struct': 'Loud', 'data': { 'X': 'int', 'y_z': 'int' }, 'if': [ 'defined(X)' ] }
            """
        compiled(tmp_path, text)
        quiet = text + "{ 'struct': 'Quiet', 'data': { 'a_b': 'int', 'X': 'int' } }"
        assert fault(tmp_path, quiet) == (
            "main.json:4: In struct 'Quiet': 'data' member 'X' uses uppercase in name"
        )
        other = text + "{ 'command': 'get_more', 'returns': 'int' }"
        assert "'returns' cannot take built-in type 'int'" in fault(tmp_path, other)

    def test_broken_text_is_not_old(self, tmp_path: Path) -> None:
        """A break hides the newer part of a schema, by which the older would be judged."""
        text = "##\n# @Bad:\n# @x: first\n#     a\n#   b\n##\n" + documented(25, "7.0") + "&"
        assert fault(tmp_path, text).startswith("main.json:5: unexpected de-indent")
