"""An empty string and a zero are given, not absent: class and text are those of the real QEMU.

From requests that get far others are made, which differ in one string or number: it is empty or
zero where it was something else, or not there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd import profile
from qmpd.monitor.qmp.served import SERVED
from qmpd.profile import Profile
from qmpd.profile.shipped import DEFAULT
from qmpd.qapi.runtime.type_table import (
    INT_RANGES,
    AlternateInfo,
    ObjectInfo,
    TypeTable,
    array_element,
    json_kind,
)
from tests.devices.boards import Boards
from tests.differential.base_requests import ACTIONS, BASES, DEVICES, IMAGES, JOB, NEEDED, SET_UP
from tests.support.normal import normal
from tests.support.versions import OTHERS

LONG = "QMPD_VERSION_EXAMPLES" in os.environ
PART = 1 if LONG else 12
"""Of how many requests to begin with one is taken on a version other than the default one."""
STEP = 1 if LONG else 4
"""Of how many that are made from one request one is taken."""
COMMANDS = profile.load(DEFAULT).entry_points.commands
UNTYPED = {"device_add"}
"""Commands whose arguments the schema does not tell."""
KILLING = ("block-dirty-bitmap-enable", "block-dirty-bitmap-disable")
"""Actions on a bitmap that is not there end QEMU, which then undoes what it has not done."""
QUERIES = {"human-monitor-command", "qom-get", "qom-list", "x-debug-block-dirty-bitmap-sha256"}
WITHOUT = {"qmp_capabilities", "set-numa-node", "blockdev-group-snapshot-sync"}
"""Commands that cannot be compared here: past negotiation, without --preconfig, not in QEMU 10."""
ELSEWHERE = set(
    """
    add_client add-fd announce-self balloon calc-dirty-rate cancel-vcpu-dirty-limit chardev-add
    chardev-change chardev-remove chardev-send-break closefd device-list-properties display-reload
    getfd input-send-event migrate migrate-continue migrate-incoming migrate-set-capabilities
    migrate-set-parameters netdev_add netdev_del qom-list-properties qom-list-types
    query-command-line-options query-cpu-model-expansion query-dirty-rate query-rx-filter
    query-sev-attestation-report query-stats query-stats-schemas remove-fd replay-break replay-seek
    ringbuf-read ringbuf-write screendump send-key set-action set_link set-vcpu-dirty-limit
    sev-inject-launch-secret trace-event-get-state trace-event-set-state watchdog-set-action
    x-blockdev-set-iothread
    """.split()
)
"""Commands whose wrong arguments, empty ones among them, are those of `test_wrong_arguments`."""


def variants(table: TypeTable, type_name: str, value: Any) -> Iterator[Any]:
    """`value`, of type `type_name`, with each of its strings and numbers empty or zero in turn."""
    element = array_element(type_name)
    if element is not None:
        for index, item in enumerate(value):
            for each in variants(table, element, item):
                yield [*value[:index], each, *value[index + 1 :]]
        return
    if type_name == "str":
        yield ""
    elif type_name in INT_RANGES:
        yield 0
    elif type_name in table:
        info = table[type_name]
        if isinstance(info, AlternateInfo):
            yield from variants(table, info.by_kind[json_kind(value)], value)
        elif isinstance(info, ObjectInfo):
            yield from _objects(table, info, value)


def _objects(table: TypeTable, info: ObjectInfo, value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for member in info.members:
        if member.name in value:
            for each in variants(table, member.type, value[member.name]):
                yield {**value, member.name: each}
        elif member.type == "str" or _may_be_name(table, member.type):
            yield {**value, member.name: ""}
        elif member.type in INT_RANGES:
            yield {**value, member.name: 0}
    if info.tag is not None:
        branch = info.branches.get(value[info.tag])
        if branch is not None:
            yield from _objects(table, table.object(branch), value)


def _may_be_name(table: TypeTable, type_name: str) -> bool:
    if array_element(type_name) is not None or type_name not in table:
        return False
    info = table[type_name]
    return isinstance(info, AlternateInfo) and info.by_kind.get("string") == "str"


def _changed(of: Profile, command: str, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if command in UNTYPED:
        for name in arguments:
            yield {**arguments, name: ""}
        return
    known = of.entry_points.commands.get(command)
    if known is None:
        yield arguments  # which is refused
        return
    assert known.arguments is not None
    yield from variants(of.types, known.arguments, arguments)


def _cases(version: str) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    for command, arguments in BASES:
        changed = [*_changed(profile.load(version), command, arguments)]
        yield command, arguments, changed
        if command in ACTIONS and command not in KILLING:
            wrapped = [
                {"actions": [{"type": command, "data": each}]} for each in (arguments, *changed)
            ]
            yield "transaction", wrapped[0], wrapped[1:]


CASES = [
    pytest.param(
        version, command, base, changed[number % STEP :: STEP], id=f"{version}-{number}-{command}"
    )
    for place, version in enumerate((DEFAULT, *OTHERS))
    for number, (command, base, changed) in enumerate(_cases(version))
    if version == DEFAULT or (number + place) % PART == 0
]


def test_every_command_has_a_request_to_begin_with() -> None:
    asked = {command for command, _ in BASES} | WITHOUT | ELSEWHERE | {"transaction"}
    with_arguments = {
        name
        for name in SERVED
        if name in COMMANDS  # others are of other versions
        and (type_name := COMMANDS[name].arguments) is not None
        and _has_string_or_number(type_name)
    }
    assert with_arguments - asked == set()


def _has_string_or_number(type_name: str) -> bool:
    members = profile.load(DEFAULT).types.object(type_name).members
    return any(member.type != "bool" for member in members)


class World:
    """Both programs with everything that the requests need, made anew when it has changed."""

    def __init__(self, scratch: Path, version: str) -> None:
        self._scratch = scratch
        self._version = version
        self._count = 0
        self._boards: Boards | None = None
        self._prepared: tuple[Any, ...] = ()

    def ask(self, command: str, arguments: dict[str, Any], of: str) -> None:
        """Compare the answers of both to a request; `of` names the command it is about."""
        jobs = (JOB,) if of.startswith(("job-", "block-job-")) else ()
        prepared = (*jobs, *NEEDED.get(of, ()))
        if self._boards is None or self._prepared != prepared:
            self._boards = self._make(prepared)
        boards = self._boards
        request = {"execute": command, "arguments": arguments}
        real = normal(boards.real.execute(request)[-1], str(boards.scratch / "real"))
        answer = boards.ours.execute(request)[-1]
        if "is not served by qmpd yet" in str(answer):
            self.close()
            return
        assert (request, normal(answer, str(boards.scratch / "ours"))) == (request, real)
        changed = "error" not in answer and command not in QUERIES
        # A pr-manager that is refused makes QEMU close descriptor 0, which is its monitor here.
        if changed or "pr-manager" in json.dumps(arguments):
            self.close()

    def _make(self, prepared: tuple[Any, ...]) -> Boards:
        self.close()
        self._count += 1
        folder = self._scratch / str(self._count)
        for side in ("real", "ours"):
            (folder / side).mkdir(parents=True)
            for image in IMAGES:
                make = ["qemu-img", "create", "-q", *image.split()]
                subprocess.run(make, cwd=folder / side, check=True)
        boards = self._boards = Boards(folder, "pc", *DEVICES, version=self._version)
        for command, arguments in (*SET_UP, *prepared):
            request = {"execute": command, "arguments": arguments}
            for program in (boards.real, boards.ours):
                answer = program.execute(request)[-1]
                assert "error" not in answer, (command, answer)
        self._prepared = prepared
        return boards

    def close(self) -> None:
        if self._boards is not None:
            self._boards.close()
        self._boards = None


@pytest.fixture(scope="module")
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("given"), request.param)
    yield world
    world.close()


@pytest.mark.parametrize(("world", "command", "base", "changed"), CASES, indirect=["world"])
def test_empty_strings_and_zeroes_are_given(
    world: World, command: str, base: dict[str, Any], changed: list[dict[str, Any]]
) -> None:
    of = base["actions"][0]["type"] if command == "transaction" else command
    for arguments in changed:
        world.ask(command, arguments, of)
