"""Definitions by themselves: keys, names, conditions, features, flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.qapi.support import compiled, fault

METATYPES = "'enum', 'struct', 'union', 'alternate', 'command', 'event'"
ONE_KEY = f"main.json:1: expression must have exactly one key {METATYPES}"
STRUCT_KEYS = "Valid keys are 'base', 'data', 'features', 'if', 'struct'."

# text -> error behind "main.json:1: "
FAULTS = {
    # Structs
    "{ 'struct': 'Aa' }": "In struct 'Aa': struct misses key 'data'",
    "{ 'struct': 'Aa', 'data': {}, 'x': 'y', 'w': 'z' }": (
        f"In struct 'Aa': struct has unknown keys 'w', 'x'\n{STRUCT_KEYS}"
    ),
    "{ 'struct': [ 'Aa' ], 'data': {} }": "'struct' requires a string name",
    "{ 'struct': 'Aa', 'data': [ 'x' ] }": (
        "In struct 'Aa': 'data' should be an object or type name"
    ),
    "{ 'struct': 'Aa', 'data': 'Bb' }": ("In struct 'Aa': 'data' should be an object or type name"),
    "{ 'struct': 'Aa', 'data': {}, 'base': { 'x': 'int' } }": (
        "In struct 'Aa': 'base' should be a type name"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': true } }": (
        "In struct 'Aa': 'data' member 'x' should be a type name or array"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': { 'y': 'int' } } }": (
        "In struct 'Aa': 'data' member 'x' misses key 'type'"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': { 'type': 'int', 'y': 'int' } } }": (
        "In struct 'Aa': 'data' member 'x' has unknown key 'y'\n"
        "Valid keys are 'features', 'if', 'type'."
    ),
    "{ 'struct': 'Aa', 'data': { 'x': [ 'int', 'str' ] } }": (
        "In struct 'Aa': 'data' member 'x': array type must contain single type name"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': [ ] } }": (
        "In struct 'Aa': 'data' member 'x': array type must contain single type name"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': [ [ 'int' ] ] } }": (
        "In struct 'Aa': 'data' member 'x': array type must contain single type name"
    ),
    # Names
    "{ 'struct': 'aa', 'data': {} }": "In struct 'aa': name of struct must use CamelCase",
    "{ 'struct': 'AA', 'data': {} }": "In struct 'AA': name of struct must use CamelCase",
    "{ 'struct': 'Aa-Bb', 'data': {} }": "In struct 'Aa-Bb': name of struct must use CamelCase",
    "{ 'struct': '', 'data': {} }": "In struct '': struct has an invalid name",
    "{ 'struct': '*Aa', 'data': {} }": "In struct '*Aa': struct has an invalid name",
    "{ 'struct': 'q_Aa', 'data': {} }": "In struct 'q_Aa': struct has an invalid name",
    "{ 'struct': 'AaList', 'data': {} }": (
        "In struct 'AaList': struct name should not end in 'List'"
    ),
    "{ 'command': 'make_it' }": (
        "In command 'make_it': name of command must not use uppercase or '_'"
    ),
    "{ 'command': 'Make' }": "In command 'Make': name of command must not use uppercase or '_'",
    "{ 'command': 'q-make' }": "In command 'q-make': command has an invalid name",
    "{ 'command': '9p' }": "In command '9p': command has an invalid name",
    "{ 'event': 'Done' }": "In event 'Done': name of event must not use lowercase or '-'",
    "{ 'event': 'IS-DONE' }": "In event 'IS-DONE': name of event must not use lowercase or '-'",
    "{ 'struct': 'Aa', 'data': { 'q-x': 'int' } }": (
        "In struct 'Aa': 'data' member 'q-x' has an invalid name"
    ),
    "{ 'struct': 'Aa', 'data': { '_x': 'int' } }": (
        "In struct 'Aa': 'data' member '_x' has an invalid name"
    ),
    "{ 'struct': 'Aa', 'data': { '**x': 'int' } }": (
        "In struct 'Aa': 'data' member '**x' has an invalid name"
    ),
    "{ 'struct': 'Aa', 'data': { '*': 'int' } }": (
        "In struct 'Aa': 'data' member '*' has an invalid name"
    ),
    "{ 'struct': 'Aa', 'data': { '*x_y': 'int' } }": (
        "In struct 'Aa': name of 'data' member '*x_y' must not use uppercase or '_'"
    ),
    "{ 'struct': 'Aa', 'data': { 'u': 'int' } }": (
        "In struct 'Aa': 'data' member 'u' uses reserved name"
    ),
    "{ 'struct': 'Aa', 'data': { '*has-x': 'int' } }": (
        "In struct 'Aa': 'data' member '*has-x' uses reserved name"
    ),
    "{ 'command': 'c', 'data': { 'X': 'int' } }": (
        "In command 'c': name of 'data' member 'X' must not use uppercase or '_'"
    ),
    # Enums
    "{ 'enum': 'Ee' }": "In enum 'Ee': enum misses key 'data'",
    "{ 'enum': 'Ee', 'data': { 'x': 'y' } }": "In enum 'Ee': 'data' must be an array",
    "{ 'enum': 'Ee', 'data': [ true ] }": "In enum 'Ee': 'data' member requires a string name",
    "{ 'enum': 'Ee', 'data': [ '' ] }": "In enum 'Ee': 'data' member '' has an invalid name",
    "{ 'enum': 'Ee', 'data': [ 'a b' ] }": (
        "In enum 'Ee': 'data' member 'a b' has an invalid name"
    ),
    "{ 'enum': 'Ee', 'data': [ 'q-x' ] }": (
        "In enum 'Ee': 'data' member 'q-x' has an invalid name"
    ),
    "{ 'enum': 'Ee', 'data': [ 'Up' ] }": (
        "In enum 'Ee': name of 'data' member 'Up' must not use uppercase or '_'"
    ),
    "{ 'enum': 'Ee', 'data': [ { 'nam': 'x' } ] }": (
        "In enum 'Ee': 'data' member misses key 'name'"
    ),
    "{ 'enum': 'Ee', 'data': [ { 'name': 'x', 'value': '1' } ] }": (
        "In enum 'Ee': 'data' member has unknown key 'value'\n"
        "Valid keys are 'features', 'if', 'name'."
    ),
    "{ 'enum': 'Ee', 'data': [], 'prefix': [ 'X' ] }": "In enum 'Ee': 'prefix' must be a string",
    # Unions and alternates
    "{ 'union': 'Uu', 'base': 'Bb', 'data': {} }": (
        "In union 'Uu': union misses key 'discriminator'"
    ),
    "{ 'union': 'Uu', 'discriminator': 'd', 'data': {} }": (
        "In union 'Uu': union misses key 'base'"
    ),
    "{ 'union': 'Uu', 'base': 'Bb', 'discriminator': [], 'data': {} }": (
        "In union 'Uu': 'discriminator' requires a string name"
    ),
    "{ 'union': 'Uu', 'base': [ 'Bb' ], 'discriminator': 'd', 'data': {} }": (
        "In union 'Uu': 'base' should be an object or type name"
    ),
    "{ 'union': 'Uu', 'base': 'Bb', 'discriminator': 'd', 'data': 'x' }": (
        "In union 'Uu': 'data' must be an object"
    ),
    "{ 'union': 'Uu', 'base': 'Bb', 'discriminator': 'd', 'data': { 'x': [ 'int' ] } }": (
        "In union 'Uu': 'data' member 'x' should be a type name"
    ),
    "{ 'union': 'Uu', 'base': 'Bb', 'discriminator': 'd', 'data': { 'x': { 'y': 'int' } } }": (
        "In union 'Uu': 'data' member 'x' misses key 'type'"
    ),
    "{ 'alternate': 'Al', 'data': {} }": "In alternate 'Al': 'data' must not be empty",
    "{ 'alternate': 'Al', 'data': [ 'int' ] }": "In alternate 'Al': 'data' must be an object",
    "{ 'alternate': 'Al', 'data': { 'x': { 'y': 'int' } } }": (
        "In alternate 'Al': 'data' member 'x' misses key 'type'"
    ),
    "{ 'alternate': 'Al', 'base': 'Bb', 'data': { 'x': 'int' } }": (
        "In alternate 'Al': alternate has unknown key 'base'\n"
        "Valid keys are 'alternate', 'data', 'features', 'if'."
    ),
    # Commands and events
    "{ 'command': 'c', 'data': [ 'int' ] }": (
        "In command 'c': 'data' should be an object or type name"
    ),
    "{ 'command': 'c', 'boxed': true }": "In command 'c': 'boxed': true requires 'data'",
    "{ 'command': 'c', 'boxed': true, 'data': { 'x': 'int' } }": (
        "In command 'c': 'data' should be a type name"
    ),
    "{ 'command': 'c', 'returns': { 'x': 'int' } }": (
        "In command 'c': 'returns' should be a type name or array"
    ),
    "{ 'command': 'c', 'gen': true }": "In command 'c': flag 'gen' may only use false value",
    "{ 'command': 'c', 'gen': 'maybe' }": "In command 'c': flag 'gen' may only use false value",
    "{ 'command': 'c', 'boxed': false }": "In command 'c': flag 'boxed' may only use true value",
    "{ 'command': 'c', 'allow-oob': 'x' }": (
        "In command 'c': flag 'allow-oob' may only use true value"
    ),
    "{ 'command': 'c', 'allow-preconfig': false }": (
        "In command 'c': flag 'allow-preconfig' may only use true value"
    ),
    "{ 'command': 'c', 'allow-oob': true, 'coroutine': true }": (
        "In command 'c': flags 'allow-oob' and 'coroutine' are incompatible"
    ),
    "{ 'event': 'EV', 'boxed': true }": "In event 'EV': 'boxed': true requires 'data'",
    "{ 'event': 'EV', 'returns': 'int' }": (
        "In event 'EV': event has unknown key 'returns'\n"
        "Valid keys are 'boxed', 'data', 'event', 'features', 'if'."
    ),
    # Features
    "{ 'command': 'c', 'features': 'f' }": "In command 'c': 'features' must be an array",
    "{ 'command': 'c', 'features': [ true ] }": (
        "In command 'c': 'features' member requires a string name"
    ),
    "{ 'command': 'c', 'features': [ { 'if': 'X' } ] }": (
        "In command 'c': 'features' member misses key 'name'"
    ),
    "{ 'command': 'c', 'features': [ { 'name': 'f', 'x': 'y' } ] }": (
        "In command 'c': 'features' member has unknown key 'x'\nValid keys are 'if', 'name'."
    ),
    "{ 'command': 'c', 'features': [ 'F' ] }": (
        "In command 'c': name of 'features' member 'F' must not use uppercase or '_'"
    ),
    "{ 'command': 'c', 'features': [ 'f', 'f' ] }": (
        "In command 'c': feature 'f' collides with feature 'f'"
    ),
    "{ 'struct': 'Aa', 'data': {}, 'features': [ 'deprecated' ] }": (
        "In struct 'Aa': feature 'deprecated' is not supported for types"
    ),
    "{ 'enum': 'Ee', 'data': [], 'features': [ 'unstable' ] }": (
        "In enum 'Ee': feature 'unstable' is not supported for types"
    ),
    "{ 'struct': 'Aa', 'data': { 'x': { 'type': 'int', 'features': [ 'f', 'f' ] } } }": (
        "In struct 'Aa': feature 'f' of type 'x' collides with feature 'f' of type 'x'"
    ),
}


@pytest.mark.parametrize(("text", "error"), FAULTS.items(), ids=range(len(FAULTS)))
def test_fault(tmp_path: Path, text: str, error: str) -> None:
    # Told where the definition starts, wherever in it the fault is.
    spread = text.replace(", '", ",\n '")
    assert fault(tmp_path, f"\n\n{spread}") == f"main.json:3: {error}"


@pytest.mark.parametrize("text", ["{ }", "{ 'data': {} }", "{ 'enum': 'Ee', 'event': 'EV' }"])
def test_exactly_one_metatype(tmp_path: Path, text: str) -> None:
    assert fault(tmp_path, text) == ONE_KEY


CONDITIONS = {
    "'foo'": "'if' condition 'foo' of struct is not a valid identifier",
    "''": "'if' condition '' of struct is not a valid identifier",
    "'defined(FOO)'": "'if' condition 'defined(FOO)' of struct is not a valid identifier",
    "true": "'if' condition of struct must be a string or an object",
    "[ 'FOO' ]": "'if' condition of struct must be a string or an object",
    "{ 'none': 'FOO' }": (
        "'if' condition of struct has unknown key 'none'\nValid keys are 'all', 'any', 'not'."
    ),
    "{ }": "'if' condition of struct has conflicting keys",
    "{ 'all': [ 'A' ], 'not': 'B' }": "'if' condition of struct has conflicting keys",
    "{ 'all': 'A' }": "'all' condition of struct must be an array",
    "{ 'any': [ ] }": "'if' condition [] of struct is useless",
    "{ 'any': [ 'A', { 'not': 'b' } ] }": "'if' condition 'b' of struct is not a valid identifier",
    "{ 'not': [ 'A' ] }": "'if' condition of struct must be a string or an object",
}


@pytest.mark.parametrize(("condition", "message"), CONDITIONS.items())
def test_condition(tmp_path: Path, condition: str, message: str) -> None:
    text = f"{{ 'struct': 'Aa', 'data': {{}},\n 'if': {condition} }}"
    assert fault(tmp_path, text) == f"main.json:1: In struct 'Aa': {message}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "{ 'struct': 'Aa', 'data': { '*x': { 'type': 'int', 'if': '!' } } }",
            "'data' member '*x'",
        ),
        ("{ 'enum': 'Aa', 'data': [ { 'name': 'x', 'if': '!' } ] }", "'data' member 'x'"),
        (
            "{ 'alternate': 'Aa', 'data': { 'x': { 'type': 'int', 'if': '!' } } }",
            "'data' member 'x'",
        ),
        (
            "{ 'struct': 'Aa', 'data': {}, 'features': [ { 'name': 'f', 'if': '!' } ] }",
            "'features' member 'f'",
        ),
    ],
)
def test_condition_of_a_part(tmp_path: Path, text: str, what: str) -> None:
    assert f"'if' condition '!' of {what} is not a valid identifier" in fault(tmp_path, text)


FINE = [
    "{ 'enum': 'Ee', 'data': [ '9p', 'd', { 'name': 'x', 'if': 'X', 'features': [ 'f' ] } ] }",
    "{ 'enum': 'Ee', 'data': [ '__com.example_x-y', 'x-max' ], 'prefix': 'P' }",
    "{ 'struct': '__com.example_Aa', 'data': { '__com.example-x_y': 'int' } }",
    "{ 'command': '__com.example_c', 'data': { '*x-y': 'str', 'max': 'int', 'errp': 'int' } }",
    "{ 'command': 'c', 'data': {}, 'gen': false, 'success-response': false, 'coroutine': true }",
    "{ 'command': 'c', 'allow-oob': true, 'allow-preconfig': true, 'features': [ 'deprecated' ] }",
    "{ 'event': '__ORG.EXAMPLE_EV', 'data': { 'x': { 'type': [ 'int' ], 'features': [] } } }",
    "{ 'struct': 'AaKind', 'data': {}, 'if': { 'any': [ 'A', { 'not': { 'all': [ 'B' ] } } ] } }",
]


@pytest.mark.parametrize("text", FINE)
def test_fine(tmp_path: Path, text: str) -> None:
    compiled(tmp_path, text)


def test_pragma_exceptions(tmp_path: Path) -> None:
    text = """
        { 'command': 'make_it', 'returns': 'int' }
        { 'struct': 'Aa', 'data': { 'X_y': 'int' } }
        { 'enum': 'Ee', 'data': [ 'Up_down' ] }
        { 'pragma': { 'command-name-exceptions': [ 'make_it' ],
                      'command-returns-exceptions': [ 'make_it' ],
                      'member-name-exceptions': [ 'Aa', 'Ee' ] } }
        """
    compiled(tmp_path, text)
    shouting = "{ 'pragma': { 'command-name-exceptions': [ 'Do_it' ] } }\n{ 'command': 'Do_it' }"
    assert "name of command must not use uppercase" in fault(tmp_path, shouting)


def test_first_error_wins(tmp_path: Path) -> None:
    """Text before definitions, definitions one by one before what is between them."""
    between = "{ 'command': 'c', 'data': 'Nix' }"
    by_itself = "{ 'command': 'd', 'gen': true }"
    text = "\n".join([between, by_itself, "&"])
    assert fault(tmp_path, text) == "main.json:3: stray '&'"
    text = "\n".join([between, by_itself])
    assert fault(tmp_path, text).startswith("main.json:2: In command 'd'")
    assert fault(tmp_path, between).startswith("main.json:1: In command 'c'")
