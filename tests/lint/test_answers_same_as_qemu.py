"""What lint says that versions answer otherwise, beside the real programs.

What 10.0 has answered is looked at; what lint says of another version, that version answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import pytest

from qmpd.sim.lint import lint
from qmpd.sim.lint.session import Answer, Asked, Session
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram
from tests.support.versions import OTHERS, real_argv

pytestmark = [
    pytest.mark.differential,
    pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing())),
]

ARGV: Final = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
QMP: Final = ["-qmp", "stdio"]

Request = tuple[str, dict[str, Any]]

NODE: Final[Request] = ("blockdev-add", {"driver": "null-co", "node-name": "n", "size": 65536})
SMALL: Final[Request] = ("blockdev-add", {"driver": "null-co", "node-name": "s", "size": 512})
ADD: Final = "block-dirty-bitmap-add"
BITMAP: Final[Request] = (ADD, {"node": "n", "name": "b"})

ERRORS: Final[Sequence[Request]] = (
    ("blockdev-del", {"node-name": "nope"}),
    (ADD, {"node": "nope", "name": "b"}),
    NODE,
    ("blockdev-add", {"driver": "null-co", "node-name": "1"}),
    BITMAP,
    ("block-dirty-bitmap-remove", {"node": "n", "name": "nope"}),
    (
        "block-dirty-bitmap-merge",
        {"node": "n", "target": "b", "bitmaps": [{"node": "s", "name": "c"}]},
    ),
    ("job-dismiss", {"id": "nope"}),
    ("block-export-del", {"id": "nope"}),
    ("x-exit-preconfig", {}),
    ("transaction", {"actions": [{"type": "abort", "data": {}}]}),
)
"""Requests that fail in all versions."""

QUERIES: Final[Sequence[Request]] = (
    ("query-named-block-nodes", {"flat": True}),
    ("query-status", {}),
    ("query-migrate-capabilities", {}),
    ("query-block-exports", {}),
    ("query-version", {}),
)


ADDED: Final = {
    "encryption_key_missing": "encryption-key",
    "singlestep": "singlestep",
    "status": "bitmap-status",
}
"""Members that rules add."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each version answers to the errors, and to the queries."""
    found = {}
    for version in ("10.0", *OTHERS):
        program = StdioProgram(real_argv(version, [*ARGV, *QMP]), tmp_path_factory.mktemp("qemu"))
        program.message()
        for command, arguments in (("qmp_capabilities", {}), NODE, SMALL, BITMAP):
            program.execute({"execute": command, "arguments": arguments})
        program.execute({"execute": ADD, "arguments": {"node": "s", "name": "c"}})
        found[version] = [
            program.execute({"execute": command, "arguments": arguments})[-1]
            for command, arguments in (*ERRORS, *QUERIES)
        ]
        program.close()
    return found


def _session(request: Request, answer: dict[str, Any]) -> Session:
    asked = Asked(1, *request)
    error = answer.get("error", {}).get("desc")
    asked.answer = Answer(2, asked, answer.get("return"), error)
    return Session([asked, asked.answer])


@pytest.mark.parametrize("number", range(len(ERRORS)), ids=lambda number: ERRORS[number][0])
@pytest.mark.parametrize("version", OTHERS)
def test_words_of_errors(
    answers: dict[str, list[dict[str, Any]]], version: str, number: int
) -> None:
    said = answers["10.0"][number]["error"]["desc"]
    told = lint(_session(ERRORS[number], answers["10.0"][number]), (version, "10.0"))
    words = [re.fullmatch("the error is '(.*)'", finding.why) for finding in told]
    expected = next((match[1] for match in words if match is not None), said)
    assert answers[version][number]["error"]["desc"] == expected


def _members(value: Any, path: str = "") -> set[str]:
    """The members of objects in a value, and the capabilities among its texts."""
    if isinstance(value, list):
        return {name for item in value for name in _members(item, path)}
    if isinstance(value, dict):
        inner = {name for key, item in value.items() for name in _members(item, key)}
        return inner | set(value)
    return {value} if path == "capability" else set()


@pytest.mark.parametrize("number", range(len(QUERIES)), ids=lambda number: QUERIES[number][0])
@pytest.mark.parametrize("version", OTHERS)
def test_what_answers_have_no_more(
    answers: dict[str, list[dict[str, Any]]], version: str, number: int
) -> None:
    ours, theirs = (answers[each][len(ERRORS) + number] for each in ("10.0", version))
    told = lint(_session(QUERIES[number], ours), (version, "10.0"))
    lacking = {
        part.rpartition(".")[2]
        for finding in told
        if finding.why.startswith("its answer has no") and finding.versions == (version,)
        for part in finding.why.split(",")
    }
    assert lacking == _members(ours["return"]) - _members(theirs["return"])
    added = _members(theirs["return"]) - _members(ours["return"])
    rules = {str(finding.source).partition(":")[0] for finding in told}
    for name, rule in ADDED.items():
        assert (name in added) == (f"rule {rule}" in rules), name
