"""Compat policies."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd import profile
from qmpd.errors import CommandNotFound
from qmpd.qapi.runtime.entry_points import EventInfo
from qmpd.qapi.runtime.hiding import hide_output
from qmpd.qapi.runtime.policy import CompatPolicy, Crash
from tests.profile.schema_samples import MODERN, table

COMMANDS = profile.load("10.0").entry_points.commands


@pytest.mark.parametrize(
    ("command", "policy", "message"),
    [
        ("drive-backup", {}, None),
        ("drive-backup", {"unstable_input": "reject"}, None),
        (
            "drive-backup",
            {"deprecated_input": "reject"},
            "Deprecated command drive-backup disabled by policy",
        ),
        (
            "x-blockdev-change",
            {"unstable_input": "reject"},
            "Unstable command x-blockdev-change disabled by policy",
        ),
        ("blockdev-add", {"deprecated_input": "reject", "unstable_input": "reject"}, None),
    ],
)
def test_commands(command: str, policy: dict[str, Any], message: str | None) -> None:
    if message is None:
        CompatPolicy(**policy).check_command(COMMANDS[command])
        return
    with pytest.raises(CommandNotFound) as caught:
        CompatPolicy(**policy).check_command(COMMANDS[command])
    assert caught.value.desc == message


def test_crash_is_told_apart_from_what_a_client_is_told() -> None:
    with pytest.raises(Crash):
        CompatPolicy(unstable_input="crash").check_command(COMMANDS["x-blockdev-change"])


def test_members_are_hidden_at_any_depth() -> None:
    value: list[dict[str, Any]] = [
        {"name": "a", "list": [{"size": 1}], "x-new": {"size": 2}},
        {"name": "b"},
    ]
    policy = CompatPolicy(unstable_output="hide")

    hidden = hide_output(policy, table(MODERN), "DerivedList", value)

    assert hidden == [{"name": "a", "list": [{"size": 1}]}, {"name": "b"}]
    assert value[0]["x-new"] == {"size": 2}
    assert hide_output(CompatPolicy(deprecated_output="hide"), table(MODERN), "DerivedList", value)
    assert hide_output(CompatPolicy(), table(MODERN), "DerivedList", value) is value


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "nested", "depth": "two", "second": 2},
        {"kind": "plain", "node-name": "n", "next": {"size": 1}},
        {"kind": "bare"},
    ],
)
def test_branches_of_unions_are_kept(value: dict[str, Any]) -> None:
    policy = CompatPolicy(unstable_output="hide", deprecated_output="hide")

    assert hide_output(policy, table(MODERN), "Options", value) == value


def test_events_are_hidden() -> None:
    event = EventInfo("OLD", "m", features=("deprecated",))

    assert CompatPolicy(deprecated_output="hide").hides_event(event)
    assert not CompatPolicy(unstable_output="hide").hides_event(event)
    assert not CompatPolicy().hides_event(event)
