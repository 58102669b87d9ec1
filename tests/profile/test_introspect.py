"""The query-qmp-schema value, and the comparison of two."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from qmpd.qapi.runtime.policy import CompatPolicy
from tests.profile.schema_samples import MODERN, compiled
from tests.support.introspection import differences, infos_of, unmasked

ALL = ["do-things", "do-more", "do-nothing", "do-freely", "DONE", "NOTHING"]


def test_the_order_is_that_of_first_use() -> None:
    infos = infos_of(compiled(MODERN), ["do-more", "do-nothing", "NOTHING"])

    assert [(info["name"], info["meta-type"]) for info in infos[:5]] == [
        ("do-more", "command"),
        ("do-nothing", "command"),
        ("NOTHING", "event"),
        ("0", "object"),
        ("[1]", "array"),
    ]
    assert infos[0] == {
        "arg-type": "0",
        "meta-type": "command",
        "name": "do-more",
        "ret-type": "[1]",
    }
    assert infos[1] == {
        "allow-oob": True,
        "arg-type": "2",
        "features": ["unstable"],
        "meta-type": "command",
        "name": "do-nothing",
        "ret-type": "2",
    }
    assert infos[2] == {"arg-type": "2", "meta-type": "event", "name": "NOTHING"}


def test_every_name_used_is_listed_once() -> None:
    infos = infos_of(compiled(MODERN), ALL)
    names = [info["name"] for info in infos]

    used = set()
    for info in infos:
        used |= {info.get(key) for key in ("arg-type", "ret-type", "element-type")}
        for part in [*info.get("members", ()), *info.get("variants", ())]:
            used.add(part.get("type"))
    assert used - {None} <= set(names)
    assert len(names) == len(set(names))


def test_types_that_nothing_served_reaches_are_left_out() -> None:
    few = infos_of(compiled(MODERN), ["do-nothing"])

    assert [info["name"] for info in few] == ["do-nothing", "0"]


def _type(infos: list[dict[str, Any]], command: str) -> Any:
    (info,) = [info for info in infos if info["name"] == command]
    return unmasked(infos, info["arg-type"])


def test_types_in_full() -> None:
    options = _type(infos_of(compiled(MODERN), ALL), "do-things")
    plain = options["variants"][0]["type"]

    assert options["tag"] == "kind"
    assert [variant["case"] for variant in options["variants"]] == [
        "plain",
        "nested",
        "old",
        "bare",
    ]
    assert options["members"][0]["type"] == {
        "members": [
            {"name": "plain"},
            {"name": "nested"},
            {"name": "bare"},
            {"features": ["deprecated"], "name": "old"},
        ],
        "meta-type": "enum",
        "values": ["plain", "nested", "bare", "old"],
    }
    assert plain["members"][0] == {
        "default": None,
        "name": "size",
        "type": {"json-type": "int", "meta-type": "builtin", "name": "int"},
    }
    assert plain["members"][2]["type"] == "up 1"


def test_integer_arrays_are_one_type() -> None:
    infos = infos_of(compiled(MODERN), ["do-more"])

    assert {i["name"] for i in infos if i["meta-type"] == "array"} == {"[1]", "[5]", "[int]"}


def test_masks_and_order_do_not_matter_in_a_comparison() -> None:
    some = infos_of(compiled(MODERN), ALL)
    others = infos_of(compiled(MODERN), ["do-nothing", "do-more", "DONE"])

    assert differences(others, some) == []
    assert "do-things: only ours" in differences(some, others)
    assert "do-things: only theirs" in differences(others, some, only_ours=False)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            lambda i: i.update({"allow-oob": False}),
            "do-nothing: allow-oob True, theirs False",
        ),
        (lambda i: i.pop("features"), "do-nothing: features ['unstable'], theirs None"),
    ],
)
def test_differences_of_commands_are_told(change: Any, difference: str) -> None:
    ours = infos_of(compiled(MODERN), ALL)
    theirs = copy.deepcopy(ours)
    change(next(info for info in theirs if info["name"] == "do-nothing"))

    assert differences(ours, theirs) == [difference]


def test_differences_of_types_are_told_once_with_their_place() -> None:
    ours = infos_of(compiled(MODERN), ["do-things"])
    theirs = copy.deepcopy(ours)
    for info in theirs:
        for member in info.get("members", ()):
            if member["name"] == "size":
                member["type"] = "str"
                del member["default"]

    assert differences(ours, theirs) == [
        "do-things:arg.plain.size: default None, theirs None",
        "do-things:arg.plain.size: json-type 'int', theirs 'string'",
    ]


def test_deprecated_things_are_hidden() -> None:
    hide = CompatPolicy(deprecated_output="hide", unstable_output="hide")

    infos = infos_of(compiled(MODERN), ALL, hide)

    assert "do-nothing" in [info["name"] for info in infos]
    assert all("values" not in info for info in infos if info["meta-type"] == "enum")
