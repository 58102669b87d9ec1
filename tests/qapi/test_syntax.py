"""Tokens and grammar: every fault is told at its token."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.compiler.source import QapiError
from tests.qapi.support import compiled, fault, write

FAULTS = {
    "stray word": ("# one\n{ 'enum': Colour }", 2, "stray 'Colour'"),
    "number": ("{ 'enum': 12, 'data': [] }", 1, "stray '12'"),
    "double quotes": ('{ "enum": 1 }', 1, "stray '\"enum\"'"),
    "null": ("\n\n{ 'enum': null }", 3, "stray 'null'"),
    "word that starts like true": ("{ 'gen': trueish }", 1, "stray 'ish'"),
    "string ends with its line": ("{ 'enum': 'Col\nour' }", 1, 'missing terminating "\'"'),
    "escape": ("{ 'enum':\n 'Col\\nour' }", 2, "unknown escape \\n"),
    "umlaut": ("{ 'enum': 'Größe' }", 1, "funny character in string"),
    "tab in string": ("{ 'enum': 'a\tb' }", 1, "funny character in string"),
    "list first": ("[ 'enum' ]", 1, "top-level expression must be an object"),
    "string first": ("'enum'", 1, "top-level expression must be an object"),
    "closing first": ("\n}", 2, "expected '{', '[', string, or boolean"),
    "no string as key": ("{ 'enum': 'E',\n  true: 'x' }", 2, "expected string"),
    "no string as first key": ("{ [ ] }", 1, "expected string or '}'"),
    "comma at the end of an object": ("{ 'enum': 'E',\n}", 2, "expected string"),
    "comma at the end of a list": (
        "{ 'data': [ 'a',\n ] }",
        2,
        "expected '{', '[', string, or boolean",
    ),
    "comma at the start of a list": (
        "{ 'data': [ , 'a' ] }",
        1,
        "expected '{', '[', ']', string, or boolean",
    ),
    "no colon": ("{ 'enum'\n 'E' }", 2, "expected ':'"),
    "no comma in object": ("{ 'enum': 'E'\n 'data': [] }", 2, "expected ',' or '}'"),
    "no comma in list": ("{ 'data': [ 'a'\n\n 'b' ] }", 3, "expected ',' or ']'"),
    "object not closed": ("{ 'enum': 'E'\n\n\n", 3, "expected ',' or '}'"),
    "list not closed": ("{ 'data': [ 'a'", 1, "expected ',' or ']'"),
    "key twice": ("{ 'enum': 'E',\n 'data': [],\n 'data': [] }", 3, "duplicate key 'data'"),
    "doc inside a definition": ("{ 'enum': 'E',\n##\n# x\n##\n }", 2, "expected string"),
    "doc starts with junk": (
        "## x\n# y\n##",
        1,
        "junk after '##' at start of documentation comment",
    ),
    "doc ends with junk": ("##\n# y\n## x\n", 3, "junk after '##' at end of documentation comment"),
    "doc not closed": ("##\n# y\n{ }", 3, "documentation comment must end with '##'"),
    "doc not closed at the end": ("##\n# y\n\n", 3, "documentation comment must end with '##'"),
    "doc broken by a stray word": ("##\n# y\nz", 3, "stray 'z'"),
    "doc without space": ("##\n# y\n#z\n##", 3, "missing space after #"),
    "what follows a doc comes second": ("##\n#z\n##\n&", 2, "missing space after #"),
}


@pytest.mark.parametrize(("text", "line", "message"), FAULTS.values(), ids=FAULTS)
def test_fault_at_its_token(tmp_path: Path, text: str, line: int, message: str) -> None:
    assert fault(tmp_path, text) == f"main.json:{line}: {message}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# only a comment",
        "{'enum':'Ee','data':[]}",
        "#\n{ 'enum': 'Ee', # why\n'data': [ ] }#",
    ],
)
def test_fine(tmp_path: Path, text: str) -> None:
    compiled(tmp_path, text)


def test_nesting_is_bounded(tmp_path: Path) -> None:
    text = "\n{ 'enum': " + "[" * 100_000
    assert fault(tmp_path, text) == "main.json:2: expression is nested too deeply"


def test_backslash_is_the_only_escape(tmp_path: Path) -> None:
    assert "In enum 'E\\x': " in fault(tmp_path, r"{ 'enum': 'E\\x', 'data': [] }")


INCLUDE_FAULTS = {
    "junk beside include": ("{ 'include': 'a.json', 'x': 'y' }", 1, "invalid 'include' directive"),
    "include of a list": ("\n{ 'include': ['a.json'] }", 2, "value of 'include' must be a string"),
    "pragma of a list": ("{ 'pragma': [] }", 1, "value of 'pragma' must be an object"),
    "junk beside pragma": ("{ 'pragma': {}, 'x': 'y' }", 1, "invalid 'pragma' directive"),
    "unknown pragma": ("\n{ 'pragma': { 'be-nice': true } }", 2, "unknown pragma 'be-nice'"),
    "doc-required": (
        "{ 'pragma': { 'doc-required': 'yes' } }",
        1,
        "pragma 'doc-required' must be boolean",
    ),
    "list pragma": (
        "{ 'pragma': { 'member-name-exceptions': 'A' } }",
        1,
        "pragma member-name-exceptions must be a list of strings",
    ),
    "list pragma with a boolean": (
        "{ 'pragma': { 'command-name-exceptions': [ true ] } }",
        1,
        "pragma command-name-exceptions must be a list of strings",
    ),
    "old list pragma": (
        "{ 'pragma': { 'returns-whitelist': {} } }",
        1,
        "pragma returns-whitelist must be a list of strings",
    ),
    "doc before include": (
        "##\n# @Ee:\n##\n{ 'include': 'a.json' }",
        1,
        "documentation for 'Ee' is not followed by the definition",
    ),
    "doc before pragma": (
        "\n##\n# @Ee:\n##\n{ 'pragma': {} }",
        2,
        "documentation for 'Ee' is not followed by the definition",
    ),
}


@pytest.mark.parametrize(("text", "line", "message"), INCLUDE_FAULTS.values(), ids=INCLUDE_FAULTS)
def test_directives(tmp_path: Path, text: str, line: int, message: str) -> None:
    assert fault(tmp_path, text, a="") == f"main.json:{line}: {message}"


class TestIncludes:
    def test_relative_to_the_including_file(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            {
                "top/main.json": "{ 'include': '../lib/one.json' }",
                "lib/one.json": "{ 'include': 'two.json' }",
                "lib/two.json": "{ 'enum': 'Two', 'data': [ 'a' ] }",
            },
        )
        schema = compile_schema(tmp_path / "top" / "main.json")
        assert schema.modules == ("main", "one", "two")
        location = schema.lookup("Two").location
        assert location is not None
        assert location.file == f"{tmp_path}/top/../lib/two.json"
        assert schema.lookup("Two").module == "two"

    def test_equal_stems_keep_apart(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            {
                "main.json": "{ 'include': 'a/main.json' }",
                "a/main.json": "{ 'enum': 'Inner', 'data': [ 'a' ] }",
            },
        )
        schema = compile_schema(tmp_path / "main.json")
        assert schema.modules == ("main", "a-main")
        assert schema.lookup("Inner").module == "a-main"

    def test_twice_is_once(self, tmp_path: Path) -> None:
        text = "{ 'include': 'a.json' } { 'include': 'a.json' } { 'include': 'b.json' }"
        a = "{ 'enum': 'Ee', 'data': [] }"
        schema = compiled(tmp_path, text, a=a, b="{ 'include': 'a.json' }")
        assert schema.modules == ("main", "a", "b")

    def test_error_inside(self, tmp_path: Path) -> None:
        text = "{ 'include': 'a.json' }\n{ 'x' }"
        assert fault(tmp_path, text, a="\n\n{ 'x'") == "a.json:3: expected ':'"

    def test_the_next_token_is_read_first(self, tmp_path: Path) -> None:
        text = "{ 'include': 'a.json' }\n&"
        assert fault(tmp_path, text, a="\n\n{ 'x'") == "main.json:2: stray '&'"

    def test_self(self, tmp_path: Path) -> None:
        text = "\n{ 'include': 'main.json' }"
        assert fault(tmp_path, text) == "main.json:2: inclusion loop for main.json"

    def test_loop(self, tmp_path: Path) -> None:
        error = fault(tmp_path, "{ 'include': 'a.json' }", a="\n{ 'include': './main.json' }")
        assert error == "a.json:2: inclusion loop for ./main.json"

    def test_missing(self, tmp_path: Path) -> None:
        assert fault(tmp_path, "\n{ 'include': 'nix.json' }") == (
            "main.json:2: can't read include file 'nix.json': No such file or directory"
        )

    def test_directory(self, tmp_path: Path) -> None:
        error = fault(tmp_path, "{ 'include': '.' }")
        assert error.startswith("main.json:1: can't read include file '")

    def test_missing_main_file(self, tmp_path: Path) -> None:
        with pytest.raises(QapiError, match=r"nix\.json:1: can't read schema file '.*nix\.json'"):
            compile_schema(tmp_path / "nix.json")

    def test_path_as_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path, {"x/main.json": "{ 'include': '../a.json' }", "a.json": "{ 'x' }"})
        monkeypatch.chdir(tmp_path)
        with pytest.raises(QapiError) as caught:
            compile_schema("x/main.json")
        assert str(caught.value) == "x/../a.json:1: expected ':'"
        assert (caught.value.file, caught.value.line) == ("x/../a.json", 1)
