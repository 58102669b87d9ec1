"""The page of all differences between the versions: docs/versions.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from qmpd.profile.profile import USUAL
from qmpd.profile.rule import NEWEST, OLDEST, Release, Rule
from qmpd.profile.rules import RULES
from qmpd.profile.shipped import VERSIONS, load, schema_path
from qmpd.qapi.compiler.schema import changes, compile_schema
from qmpd.qapi.outputs.diff import Change, diff

INTRO: Final = """\
# Versions of QEMU

Made by `qmpd versions --page docs/versions.md` from the schema, the profiles and their rules.

`qmpd.Machine(version="7.2")`, `qmpd serve --version 7.2`, `QMPD_VERSION=7.2 qmpd-system ...`,
a name like `qemu-system-x86_64-7.2`, or `@pytest.mark.qmpd(versions=["5.2", "11.1"])`. Without
them it is 10.0.

| version | is | rests on |
|---|---|---|
"""

MEASURED: Final = """\

What was compared with the real programs of 5.2, 7.2 and 11.1: the schema, the lists of commands,
which of them may come before the machine is made, thousands of wrong arguments, and sessions
about nodes, bitmaps, transactions, jobs, exports, the human monitor and the wire. What was not:
migration.
"""

LEFT: Final = """\

## Known, and left

What was seen to differ from the real programs, and does so still.

| versions | what |
|---|---|
"""

LEFT_ROWS: Final = (
    (
        "all",
        "what `-netdev user`, `vde`, `vhost-user`, `vhost-vdpa` and `passt` make of values that"
        " only their backends look at; `-display default` begins no VNC",
    ),
    (
        "all",
        "properties that a model of `-cpu` does not have are taken; `-spice` is refused unread",
    ),
    ("5.2", "what is wrong with options that wait for others, as `-netdev`, comes too early"),
    ("5.2, 7.2", "machine types older than the program make of devices what the newest one does"),
    ("5.2", "RESET and SHUTDOWN come after the answer; LSI controllers that are unplugged stay"),
    (
        "5.2",
        "after some refusals of drive-backup a device stands still for ever; in qmpd it goes on",
    ),
    ("11.1", "libblkio: not served"),
    ("11.1", "monitors are no objects"),
    ("all", "regions of virtio devices by modern-pio-notify, of virtio-serial and xHCI by others"),
)
"""The versions, and what differs."""

RULES_HEAD: Final = """\

## Beyond the schema

| versions | what | rule | who says so |
|---|---|---|---|
"""

SCHEMA: Final = """\

## The schema

What came and went with each release, in what qmpd has of the schema. Conditions are those of
`schema/*.json`. What a release has changed may stand at a later one, where only that was looked at.
"""


def page(entries: Iterable[Mapping[str, object]]) -> str:
    """The page.

    :param entries: what `qmpd versions` tells of each version
    """
    versions = "".join(
        f"| {entry['name']} | {entry['version']} | {entry['rests-on']} |\n" for entry in entries
    )
    rules = "".join(
        f"| {_span(rule)} | {rule.what} | `{rule.name}` | {rule.source} |\n" for rule in RULES
    )
    texts = "".join(_texts())
    schema = "".join(_schema_tables())
    left = "".join(f"| {which} | {what} |\n" for which, what in LEFT_ROWS)
    return "".join(
        [INTRO, versions, MEASURED, LEFT, left, RULES_HEAD, rules, texts, SCHEMA, schema]
    )


def _span(rule: Rule) -> str:
    if rule.first == OLDEST:
        return f"until {_spelled(rule.last)}"
    return (
        f"since {_spelled(rule.first)}"
        if rule.last == NEWEST
        else (f"{_spelled(rule.first)} to {_spelled(rule.last)}")
    )


def _spelled(release: Release) -> str:
    return "{}.{}".format(*release)


def _texts() -> Iterator[str]:
    for version in VERSIONS:
        texts = load(version).texts
        for field, usual, text in zip(texts._fields, USUAL, texts, strict=True):
            if text != usual:
                yield f"| {version} | {text} | `{field}` of `profile.json` | a run of {version} |\n"


def _schema_tables() -> Iterator[str]:
    before = compile_schema(schema_path(), "0.0")
    for version in changes(schema_path()):
        after = compile_schema(schema_path(), version)
        found = diff(before, after)
        before = after
        if found:
            symbol = f"SINCE_{version.replace('.', '_')}"
            yield f"\n### {version} (`{symbol}`)\n\n| | what | |\n|---|---|---|\n"
            yield from (_row(change) for change in found)


def _row(change: Change) -> str:
    part = f" `{change.part}`" if change.part is not None else ""
    return f"| {change.what} | {change.kind} `{change.name}`{part} | {change.detail} |\n"
