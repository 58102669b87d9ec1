"""What definitions say of each other: types in use, clashes, bases, branches, doubles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.qapi.support import compiled, fault

ENUM = "{ 'enum': 'Ee', 'data': [ 'one', 'two' ] }\n"
STRUCT = "{ 'struct': 'Ss', 'data': { 'x': 'int' } }\n"
BASE = "{ 'struct': 'Bb', 'data': { 'kind': 'Ee' } }\n"
UNION = (
    "{ 'union': 'Uu', 'base': { 'kind': 'Ee' }, 'discriminator': 'kind', "
    "'data': { 'one': 'Ss' } }\n"
)
ALTERNATE = "{ 'alternate': 'Al', 'data': { 's': 'str', 'o': 'Ss' } }\n"
# Line 6 comes after these.
ALL = ENUM + STRUCT + BASE + UNION + ALTERNATE

# definition in line 6 -> error behind "main.json:6: "
FAULTS = {
    # Unknown types
    "{ 'struct': 'Aa', 'data': { '*x': 'Nix' } }": (
        "In struct 'Aa': member 'x' uses unknown type 'Nix'"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': [ 'Nix' ] } }": (
        "In struct 'Aa': struct uses unknown type 'Nix'"
    ),
    "{ 'struct': 'Aa', 'data': {}, 'base': 'Nix' }": (
        "In struct 'Aa': 'base' uses unknown type 'Nix'"
    ),
    "{ 'command': 'c', 'data': { 'x': 'Nix' } }": (
        "In command 'c': parameter 'x' uses unknown type 'Nix'"
    ),
    "{ 'command': 'c', 'data': 'Nix' }": (
        "In command 'c': command's 'data' uses unknown type 'Nix'"
    ),
    "{ 'command': 'c', 'returns': 'Nix' }": (
        "In command 'c': command's 'returns' uses unknown type 'Nix'"
    ),
    "{ 'command': 'c', 'returns': [ 'Nix' ] }": "In command 'c': command uses unknown type 'Nix'",
    "{ 'event': 'EV', 'data': 'Nix' }": "In event 'EV': event's 'data' uses unknown type 'Nix'",
    "{ 'alternate': 'Aa', 'data': { 'x': 'Nix' } }": (
        "In alternate 'Aa': branch 'x' uses unknown type 'Nix'"
    ),
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { 'one': 'Nix' } }": (
        "In union 'Aa': branch 'one' uses unknown type 'Nix'"
    ),
    "{ 'union': 'Aa', 'base': { 'x': 'Nix' }, 'discriminator': 'x', 'data': {} }": (
        "In union 'Aa': base member 'x' uses unknown type 'Nix'"
    ),
    "{ 'command': 'c', 'data': { 'x': 'c' } }": (
        "In command 'c': parameter 'x' uses unknown type 'c'"
    ),
    # Types in the wrong place
    "{ 'command': 'c', 'data': 'Ee' }": (
        "In command 'c': command's 'data' cannot take enum type 'Ee'"
    ),
    "{ 'command': 'c', 'data': 'int' }": (
        "In command 'c': command's 'data' cannot take built-in type 'int'"
    ),
    "{ 'command': 'c', 'data': 'Al', 'boxed': true }": (
        "In command 'c': command's 'data' cannot take alternate type 'Al'"
    ),
    "{ 'command': 'c', 'data': 'Uu' }": (
        "In command 'c': command's 'data' can take union type 'Uu' only with 'boxed': true"
    ),
    "{ 'event': 'EV', 'data': 'Uu' }": (
        "In event 'EV': event's 'data' can take union type 'Uu' only with 'boxed': true"
    ),
    "{ 'event': 'EV', 'data': 'any' }": (
        "In event 'EV': event's 'data' cannot take built-in type 'any'"
    ),
    "{ 'command': 'c', 'data': { 'x': { 'type': 'int', 'if': 'X' } } }": (
        "In command 'c': conditional command arguments require 'boxed': true"
    ),
    "{ 'event': 'EV', 'data': { 'x': { 'type': 'int', 'if': 'X' } } }": (
        "In event 'EV': conditional event arguments require 'boxed': true"
    ),
    "{ 'command': 'c', 'returns': 'int' }": (
        "In command 'c': command's 'returns' cannot take built-in type 'int'"
    ),
    "{ 'command': 'c', 'returns': [ 'Ee' ] }": (
        "In command 'c': command's 'returns' cannot take array type ['Ee']"
    ),
    "{ 'command': 'c', 'returns': 'Al' }": (
        "In command 'c': command's 'returns' cannot take alternate type 'Al'"
    ),
    # Bases
    "{ 'struct': 'Aa', 'data': {}, 'base': 'Uu' }": (
        "In struct 'Aa': 'base' requires a struct type, union type 'Uu' isn't"
    ),
    "{ 'struct': 'Aa', 'data': {}, 'base': 'str' }": (
        "In struct 'Aa': 'base' requires a struct type, built-in type 'str' isn't"
    ),
    "{ 'struct': 'Aa', 'data': {}, 'base': 'Al' }": (
        "In struct 'Aa': 'base' requires a struct type, alternate type 'Al' isn't"
    ),
    "{ 'struct': 'Aa', 'data': {}, 'base': 'Aa' }": "In struct 'Aa': object Aa contains itself",
    # Clashes
    "{ 'struct': 'Aa', 'base': 'Ss', 'data': { 'x': 'str' } }": (
        "In struct 'Aa': member 'x' collides with member 'x' of type 'Ss'"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': 'int', '*x': 'str' } }": (
        "In struct 'Aa': member 'x' collides with member 'x'"
    ),
    "{ 'command': 'c', 'data': { '*x': 'int', 'x': 'str' } }": (
        "In command 'c': parameter 'x' collides with parameter 'x'"
    ),
    "{ 'union': 'Aa', 'base': { 'x': 'Ee', '*x': 'int' }, 'discriminator': 'x', 'data': {} }": (
        "In union 'Aa': base member 'x' collides with base member 'x'"
    ),
    "{ 'union': 'Aa', 'base': { 'x': 'Ee' }, 'discriminator': 'x', 'data': { 'two': 'Ss' } }": (
        "In union 'Aa': member 'x' of type 'Ss' collides with base member 'x'"
    ),
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { 'one': 'Uu' } }": (
        "In union 'Aa': base member 'kind' of type 'Uu' collides with member 'kind' of type 'Bb'"
    ),
    "{ 'enum': 'Aa', 'data': [ 'x', 'x' ] }": "In enum 'Aa': value 'x' collides with value 'x'",
    "{ 'enum': 'Aa', 'data': [ '__a.b_x', '__a-b_x' ] }": (
        "In enum 'Aa': value '__a-b_x' collides with value '__a.b_x'"
    ),
    # Discriminators and branches
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'nix', 'data': {} }": (
        "In union 'Aa': discriminator 'nix' is not a member of 'base'"
    ),
    "{ 'union': 'Aa', 'base': {}, 'discriminator': 'nix', 'data': {} }": (
        "In union 'Aa': discriminator 'nix' is not a member of 'base'"
    ),
    "{ 'union': 'Aa', 'base': { 'a-b': 'Ee' }, 'discriminator': 'a_b', 'data': {} }": (
        "In union 'Aa': discriminator 'a_b' is not a member of 'base'"
    ),
    "{ 'union': 'Aa', 'base': 'Ss', 'discriminator': 'x', 'data': {} }": (
        "In union 'Aa': discriminator member 'x' of base type 'Ss' must be of enum type"
    ),
    "{ 'union': 'Aa', 'base': { 'd': 'str' }, 'discriminator': 'd', 'data': {} }": (
        "In union 'Aa': discriminator member 'd' of 'base' must be of enum type"
    ),
    "{ 'union': 'Aa', 'base': { '*d': 'Ee' }, 'discriminator': 'd', 'data': {} }": (
        "In union 'Aa': discriminator member 'd' of 'base' must not be optional"
    ),
    "{ 'union': 'Aa', 'base': { '*d': 'Ee' }, 'discriminator': '*d', 'data': {} }": (
        "In union 'Aa': discriminator '*d' is not a member of 'base'"
    ),
    "{ 'union': 'Aa', 'base': { 'd': { 'type': 'Ee', 'if': 'X' } }, 'discriminator': 'd',"
    " 'data': {} }": "In union 'Aa': discriminator member 'd' of 'base' must not be conditional",
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { 'six': 'Ss' } }": (
        "In union 'Aa': branch 'six' is not a value of enum type 'Ee'"
    ),
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { '*one': 'Ss' } }": (
        "In union 'Aa': branch '*one' is not a value of enum type 'Ee'"
    ),
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { 'one': 'int' } }": (
        "In union 'Aa': branch 'one' cannot use built-in type 'int'"
    ),
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { 'one': 'Al' } }": (
        "In union 'Aa': branch 'one' cannot use alternate type 'Al'"
    ),
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': { 'one': 'Aa' } }": (
        "In union 'Aa': object Aa contains itself"
    ),
    # Alternates
    "{ 'alternate': 'Aa', 'data': { 'x': 'Al' } }": (
        "In alternate 'Aa': branch 'x' cannot use alternate type 'Al'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': 'any' } }": (
        "In alternate 'Aa': branch 'x' cannot use built-in type 'any'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': 'Ss', 'y': 'Uu' } }": (
        "In alternate 'Aa': branch 'y' can't be distinguished from 'x'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': 'str', 'y': 'Ee' } }": (
        "In alternate 'Aa': branch 'y' can't be distinguished from 'x'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': 'int', 'y': 'number' } }": (
        "In alternate 'Aa': branch 'y' can't be distinguished from 'x'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': 'bool', 'y': 'str' } }": (
        "In alternate 'Aa': branch 'y' can't be distinguished from 'x'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': 'str', 'y': 'size' } }": (
        "In alternate 'Aa': branch 'y' can't be distinguished from 'x'"
    ),
    "{ 'alternate': 'Aa', 'data': { 'x': [ 'str' ], 'y': [ 'Ss' ] } }": (
        "In alternate 'Aa': branch 'y' can't be distinguished from 'x'"
    ),
    # Doubles
    "{ 'enum': 'Ss', 'data': [] }": (
        "In enum 'Ss': 'Ss' is already defined\nmain.json:2: In struct 'Ss': previous definition"
    ),
    "{ 'struct': 'QType', 'data': {} }": (
        "In struct 'QType': enum type 'QType' is already defined"
    ),
}


@pytest.mark.parametrize(("text", "error"), FAULTS.items(), ids=range(len(FAULTS)))
def test_fault(tmp_path: Path, text: str, error: str) -> None:
    assert fault(tmp_path, ALL + text) == f"main.json:6: {error}"


FINE = [
    "{ 'command': 'c', 'data': 'Uu', 'boxed': true, 'returns': 'Uu' }",
    "{ 'command': 'c', 'data': 'Bb', 'returns': [ 'Later' ] }\n{ 'struct': 'Later', 'data': {} }",
    "{ 'struct': 'Aa', 'data': { '*aa': 'Aa', 'list': [ 'Aa' ] } }",
    "{ 'struct': 'Aa', 'data': { 'ints': 'intList', 'any': 'any', 'q': 'QType' } }",
    "{ 'alternate': 'Aa', 'data': { 'n': 'null', 'b': 'bool', 'e': 'Ee', 'i': 'int',"
    " 'l': [ 'int' ], 'o': 'Uu' } }",
    "{ 'union': 'Aa', 'base': { 'k': 'Ee' }, 'discriminator': 'k', 'data': { 'one': 'Uu' } }",
    "{ 'union': 'Aa', 'base': 'Bb', 'discriminator': 'kind', 'data': {} }",
]


@pytest.mark.parametrize("text", FINE)
def test_fine(tmp_path: Path, text: str) -> None:
    compiled(tmp_path, ALL + text)


class TestOrder:
    """Which of two faults is told."""

    def test_base_before_derived(self, tmp_path: Path) -> None:
        text = """\
            { 'struct': 'Derived', 'base': 'Base', 'data': { 'x': 'Nix' } }
            { 'struct': 'Base', 'data': { 'y': 'Nix' } }
            """
        assert fault(tmp_path, text).startswith("main.json:2: In struct 'Base': member 'y'")

    def test_members_are_pointers(self, tmp_path: Path) -> None:
        text = """\
            { 'struct': 'Outer', 'data': { 'inner': 'Inner', 'x': 'Nix' } }
            { 'struct': 'Inner', 'data': { 'y': 'Nix' } }
            """
        assert fault(tmp_path, text).startswith("main.json:1: In struct 'Outer': member 'x'")

    def test_cycle_of_two(self, tmp_path: Path) -> None:
        text = """\
            { 'struct': 'Aa', 'base': 'Bb', 'data': {} }
            { 'struct': 'Bb', 'base': 'Aa', 'data': {} }
            """
        assert fault(tmp_path, text) == "main.json:1: In struct 'Aa': object Aa contains itself"

    def test_clash_deep_in_the_bases(self, tmp_path: Path) -> None:
        text = """\
            { 'struct': 'Aa', 'data': { 'x': 'int' } }
            { 'struct': 'Bb', 'base': 'Aa', 'data': { 'y': 'int' } }
            { 'struct': 'Cc', 'base': 'Bb', 'data': { 'x': 'int' } }
            """
        assert fault(tmp_path, text) == (
            "main.json:3: In struct 'Cc': member 'x' collides with member 'x' of type 'Aa'"
        )

    def test_double_before_contents(self, tmp_path: Path) -> None:
        text = """\
            { 'command': 'c', 'data': 'Nix' }
            { 'command': 'c' }
            """
        assert fault(tmp_path, text).startswith("main.json:2: In command 'c': 'c' is already")

    def test_empty_enum_has_no_branches(self, tmp_path: Path) -> None:
        text = """\
            { 'enum': 'None', 'data': [] }
            { 'union': 'Uu', 'base': { 'n': 'None' }, 'discriminator': 'n', 'data': {} }
            """
        assert fault(tmp_path, text) == "main.json:2: In union 'Uu': union has no branches"

    @pytest.mark.parametrize(("value", "type_"), [("off", "bool"), ("0x", "int"), ("1", "number")])
    def test_enums_that_look_like_other_values(
        self, tmp_path: Path, value: str, type_: str
    ) -> None:
        text = f"""\
            {{ 'enum': 'Ee', 'data': [ 'x', '{value}' ] }}
            {{ 'alternate': 'Al', 'data': {{ 'a': '{type_}', 'b': 'Ee' }} }}
            """
        assert fault(tmp_path, text) == (
            "main.json:2: In alternate 'Al': branch 'b' can't be distinguished from 'a'"
        )


def test_too_many_features(tmp_path: Path) -> None:
    features = ", ".join(f"'f{number}'" for number in range(62))
    text = f"{{ 'command': 'c', 'features': [ {features} ] }}\n"
    compiled(tmp_path, text)
    one_more = "{ 'event': 'EV', 'features': [ 'f1', 'more' ] }"
    assert fault(tmp_path, text + one_more) == (
        "main.json:2: In event 'EV': Maximum of 64 schema features is permitted"
    )
