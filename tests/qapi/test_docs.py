"""Doc blocks by today's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmpd.qapi.compiler.entities import Command, Doc
from tests.qapi.support import compiled, fault

COMMAND = (
    "{ 'command': 'c', 'data': { 'a': 'int', '*b': 'str' }, 'returns': 'Ss', 'features': ['f'] }"
)
STRUCT = "{ 'struct': 'Ss', 'data': {} }"


def block(*lines: str) -> str:
    """A doc block of `lines`."""
    return "".join(["##\n", *(f"# {line}".rstrip() + "\n" for line in lines), "##\n"])


FEATURES = ("Features:", "@f: feature")
ARGUMENTS = ("@a: first", "", "@b: second", "")

# Block for the command, line and message.  The block starts in line 2.
FAULTS = {
    "no colon": (("@c", "Text."), 3, "line should end with ':'"),
    "no name": (("@:",), 3, "name required after '@'"),
    "other name": (("@d:",), 5, "In command 'c': documentation comment is for 'd'"),
    "free text": (("Text", ""), 2, "definition documentation required"),
    "name in free text": (("Text", "@c: more"), 4, "'@c:' not allowed in free-form documentation"),
    "undocumented argument": (
        ("@c:", "@a: first", "", *FEATURES),
        9,
        "In command 'c': member 'b' lacks documentation",
    ),
    "undocumented feature": (
        ("@c:", "", *ARGUMENTS, "Since: 1"),
        11,
        "In command 'c': feature 'f' lacks documentation",
    ),
    "no such argument": (
        ("@c:", "", *ARGUMENTS, "@x: third", "@y: more", "", *FEATURES),
        9,
        "documented members 'x', 'y' do not exist",
    ),
    "no such feature": (
        ("@c:", "", *ARGUMENTS, *FEATURES, "@g: other"),
        11,
        "documented feature 'g' does not exist",
    ),
    "argument twice": (("@c:", *ARGUMENTS, "@a: again"), 8, "'a' parameter name duplicated"),
    "empty argument name": (("@c:", "@: what"), 4, "invalid parameter name"),
    "empty argument": (("@c:", "", "@a:", "", "@b: x"), 5, "text required after 'Member:'"),
    "empty feature": (("@c:", *ARGUMENTS, "Features:", "@f:"), 9, "text required after 'Feature:'"),
    "empty section": (("@c:", *ARGUMENTS, "Since:", "", "Text"), 8, "text required after 'Since:'"),
    "section in the text of another": (
        ("@c:", *ARGUMENTS, "TODO:", "Since: 1"),
        8,
        "text required after 'Todo:'",
    ),
    "twice since": (("@c:", "Since: 1", "Since: 2"), 5, "duplicated 'Since' section"),
    "twice returns": (("@c:", "Returns: x", "", "Returns: y"), 6, "duplicated 'Returns' section"),
    "twice errors": (("@c:", "Errors: x", "Errors: y"), 5, "duplicated 'Errors' section"),
    "twice features": (("@c:", *FEATURES, "", "Features:"), 7, "duplicated 'Features:' line"),
    "no features": (("@c:", "Features:", "", "@:"), 6, "invalid parameter name"),
    "text for features": (("@c:", "Features:", "", "none"), 6, "feature descriptions expected"),
    "argument behind section": (
        ("@c:", "@a: first", "", "Since: 1", "", "@b: second"),
        8,
        "description of '@b:' follows a section",
    ),
    "heading": (("@c:", "", "= Title"), 5, "unexpected '=' markup in definition documentation"),
    "de-indent": (
        ("@c:", "@a: first", "    second", "  third"),
        6,
        "unexpected de-indent (expected at least 4 spaces)",
    ),
    "note": (
        ("@c:", "Note: this"),
        4,
        "The 'Note' section is no longer supported. Please use rST's '.. note::' or "
        "'.. admonition:: notes' directives, or another suitable admonition instead.",
    ),
    "examples": (
        ("@c:", "Examples:", "  this"),
        4,
        "The 'Examples' section is no longer supported. Please use the '.. qmp-example::' "
        "directive, or other suitable markup instead.",
    ),
}


@pytest.mark.parametrize(("lines", "line", "message"), FAULTS.values(), ids=FAULTS)
def test_fault(tmp_path: Path, lines: tuple[str, ...], line: int, message: str) -> None:
    text = f"{STRUCT}\n{block(*lines)}{COMMAND}"
    assert fault(tmp_path, text) == f"main.json:{line}: {message}"


def test_headings_come_first(tmp_path: Path) -> None:
    compiled(tmp_path, block("= Title", "", "Text."))
    compiled(tmp_path, block("Title", "=====", "", "Text."))
    assert fault(tmp_path, block("Text.", "", "== Title")) == (
        "main.json:4: '=' heading must come first in a comment block"
    )


@pytest.mark.parametrize(
    ("definition", "section", "error"),
    [
        ("{ 'event': 'EV' }", "Returns: x", "'Returns' section is only valid for commands"),
        ("{ 'event': 'EV' }", "Errors: x", "'Errors' section is only valid for commands"),
        (
            "{ 'command': 'EV' }",
            "Returns: x",
            "In command 'EV': name of command must not use uppercase or '_'",
        ),
        (
            "{ 'command': 'c' }",
            "Returns: x",
            "'Returns' section, but command doesn't return anything",
        ),
    ],
)
def test_sections_that_do_not_suit(
    tmp_path: Path, definition: str, section: str, error: str
) -> None:
    name = definition.split("'")[3]
    line = 5 if error.startswith("In") else 3
    text = block(f"@{name}:", section) + definition
    assert fault(tmp_path, text) == f"main.json:{line}: {error}"


@pytest.mark.parametrize(
    ("definition", "role"),
    [
        ("{ 'enum': 'Dd', 'data': [ 'x' ] }", "value"),
        ("{ 'alternate': 'Dd', 'data': { 'x': 'int' } }", "branch"),
        ("{ 'struct': 'Dd', 'data': { 'x': 'int' } }", "member"),
        ("{ 'union': 'Dd', 'base': { 'x': 'Ee' }, 'discriminator': 'x', 'data': {} }", "member"),
        ("{ 'event': 'Dd', 'data': { 'x': 'int' } }", "member"),
    ],
)
def test_every_part_is_documented(tmp_path: Path, definition: str, role: str) -> None:
    enum = "{ 'enum': 'Ee', 'data': [ 'one' ] }\n"
    definition = definition.replace("'event': 'Dd'", "'event': 'DD'")
    name = definition.split("'")[3]
    kind = definition.split("'")[1]
    error = fault(tmp_path, enum + block(f"@{name}:") + definition)
    assert error == f"main.json:5: In {kind} '{name}': {role} 'x' lacks documentation"
    compiled(tmp_path, enum + block(f"@{name}:", "@x: text") + definition)
    exempt = f"{{ 'pragma': {{ 'documentation-exceptions': [ '{name}' ] }} }}\n"
    compiled(tmp_path, exempt + enum + block(f"@{name}:") + definition)


def test_arguments_of_a_named_type_are_documented_there(tmp_path: Path) -> None:
    args = "{ 'struct': 'Args', 'data': { 'x': 'int' } }\n"
    command = "{ 'command': 'c', 'boxed': true, 'data': 'Args' }"
    error = fault(tmp_path, args + block("@c:", "@x: text") + command)
    assert error == "main.json:4: documented member 'x' does not exist"


def test_doc_required(tmp_path: Path) -> None:
    text = STRUCT + "\n{ 'pragma': { 'doc-required': true } }"
    assert fault(tmp_path, text) == "main.json:1: In struct 'Ss': documentation comment required"


def test_doc_without_definition(tmp_path: Path) -> None:
    message = "main.json:1: documentation for 'Ss' is not followed by the definition"
    assert fault(tmp_path, block("@Ss:")) == message
    assert fault(tmp_path, block("@Ss:") + block("Text.") + STRUCT) == message


def test_docs_in_order_with_syntax(tmp_path: Path) -> None:
    """A fault in a doc block is told before one in the text after it."""
    assert fault(tmp_path, block("@Ss", "x") + "&") == "main.json:2: line should end with ':'"
    assert fault(tmp_path, "&" + block("@Ss", "x")) == "main.json:1: stray '&##'"


SAMPLE = """\
{ 'struct': 'Ss', 'data': {} }
##
# @c:
#
# Does this,
# and that.
#
# Then more.
#
# @a: first line
#     second line
#
#     - point
#
#       of it
#
# @b:
#     all indented
#
#       deeper
#
# Features:
#
# @f: as of 3.0
#
# .. note:: By the way.
#
#    @here: is no argument.
#
# Returns: an Ss
#
# Errors:
#     - If it fails, Why
#     - If not, Because
#
# TODO: all of it
#
# Since: 3.0
#
# .. qmp-example::
#
#    -> { "execute": "c" }
#    <- { "return": {} }
##
{ 'command': 'c', 'data': { 'a': 'int', '*b': 'str' }, 'returns': 'Ss', 'features': ['f'] }
"""


def sample(tmp_path: Path) -> Doc:
    """The doc of the sample command."""
    command = compiled(tmp_path, SAMPLE).lookup("c")
    assert isinstance(command, Command)
    assert command.doc is not None
    return command.doc


def test_doc_of_an_entity(tmp_path: Path) -> None:
    doc = sample(tmp_path)
    assert doc.symbol == "c"
    assert doc.location.line == 2
    assert doc.body == "Does this,\nand that.\n\nThen more."
    assert doc.since == "3.0"
    assert doc.member("a") == "first line\nsecond line\n\n- point\n\n  of it"
    assert doc.member("b") == "all indented\n\n  deeper"
    assert doc.member("z") is None
    kinds = [(section.kind, section.name) for section in doc.sections]
    assert kinds == [
        ("member", "a"),
        ("member", "b"),
        ("feature", "f"),
        ("plain", None),
        ("returns", None),
        ("errors", None),
        ("todo", None),
        ("since", None),
        ("plain", None),
    ]
    texts = {section.kind: section.text for section in doc.sections}
    assert texts["feature"] == "as of 3.0"
    assert texts["returns"] == "an Ss"
    assert texts["errors"] == "- If it fails, Why\n- If not, Because"
    assert texts["plain"].startswith(".. qmp-example::\n\n   -> ")


class TestLayout:
    """Columns and spaces, where no ``Since`` tells another age."""

    @pytest.mark.parametrize("line", ["One. Two", "Really? Yes.", "So! (Yes)", "It is v2. 3 more"])
    def test_one_space(self, tmp_path: Path, line: str) -> None:
        assert fault(tmp_path, block("Text.", line)).startswith(
            "main.json:3: Use two spaces between sentences\n"
        )

    @pytest.mark.parametrize(
        "line",
        ["One.  Two", "1. First", "For e.g. Linux", "a. b", "v1.2 is", "One."],
    )
    def test_fine(self, tmp_path: Path, line: str) -> None:
        compiled(tmp_path, block("Text.", line))

    def test_column(self, tmp_path: Path) -> None:
        compiled(tmp_path, block("x" * 68))
        assert fault(tmp_path, block("", "x" * 69)) == (
            "main.json:3: documentation line longer than 70 characters"
        )

    def test_addresses_are_long(self, tmp_path: Path) -> None:
        compiled(tmp_path, block("  https://example.com/" + "x" * 70))

    def test_literal_text_is_free(self, tmp_path: Path) -> None:
        lines = ["Text", "", "::", "", "    a. B " + "x" * 70, "", "    c. D", "", "Text"]
        compiled(tmp_path, block(*lines))
        assert ":10: Use two" in fault(tmp_path, block(*lines[:-1], "Text. Text"))

    def test_last_of_all_faults(self, tmp_path: Path) -> None:
        text = block("@c:", "x" * 69) + "{ 'command': 'c', 'data': 'Nix' }"
        assert fault(tmp_path, text).startswith("main.json:5: In command 'c'")

    def test_not_in_an_older_schema(self, tmp_path: Path) -> None:
        text = block("@c:", "", "Text. Text", "", "Since: 10.0") + "{ 'command': 'c' }"
        compiled(tmp_path, text)
