"""Machines of two versions side by side: one process, one clock, nothing in common."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from qmpd import aio
from qmpd.block.images import MemoryStorage
from qmpd.errors import CommandNotFound
from qmpd.loop.clock import VirtualClock
from qmpd.loop.clocks import Clocks
from qmpd.machine.config import MachineConfig
from qmpd.machine.machine import Machine
from qmpd.monitor.monitors import Monitors
from qmpd.monitor.qmp_monitor import QmpMonitor
from qmpd.profile import Personality, Profile, load
from qmpd.qapi.compiler.schema import compile_schema
from qmpd.qapi.outputs.generate import generate
from qmpd.qapi.runtime.policy import CompatPolicy

SCHEMA = """
{ 'pragma': { 'command-name-exceptions': [ 'qmp_capabilities', 'block_unlock' ] } }
{ 'enum': 'QMPCapability', 'data': [ 'oob' ] }
{ 'command': 'qmp_capabilities', 'data': { '*enable': [ 'QMPCapability' ] } }
{ 'struct': 'VersionTriple', 'data': { 'major': 'int', 'minor': 'int', 'micro': 'int' } }
{ 'struct': 'VersionInfo', 'data': { 'qemu': 'VersionTriple', 'package': 'str' } }
{ 'command': 'query-version', 'returns': 'VersionInfo' }
{ 'struct': 'CommandInfo', 'data': { 'name': 'str' } }
{ 'command': 'query-commands', 'returns': [ 'CommandInfo' ] }
{ 'struct': 'SchemaInfo', 'data': { 'name': 'str' } }
{ 'command': 'query-qmp-schema', 'returns': [ 'SchemaInfo' ] }
{ 'command': 'stop' }
{ 'event': 'STOP', 'features': [ 'deprecated' ] }
{ 'event': 'RESUME' }
{ 'command': 'cont', 'features': [ 'deprecated' ] }
{ 'command': 'block_unlock', 'data': { 'device': 'str', '*password': 'str' } }
{ 'enum': 'BlockdevDriver', 'data': [ 'null-co' ] }
{ 'command': 'blockdev-add',
  'data': { 'driver': 'BlockdevDriver', 'node-name': 'str', '*size': 'int16' } }
"""
COMMANDS = "stop cont query-commands query-version qmp_capabilities query-qmp-schema blockdev-add"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A made-up version with a schema, an order and some words of its own."""
    directory: Path = tmp_path_factory.mktemp("small")
    (directory / "schema.json").write_text(SCHEMA)
    generate(compile_schema(directory / "schema.json"), directory, directory / "models")
    about = {
        "name": "small",
        "version": [0, 1, 7],
        "package": "made up",
        "texts": {
            "command_not_found": "What is {name}?",
            "banner": "Small {version}, at your service",
        },
    }
    known = {
        "commands": [*COMMANDS.split(), "block_unlock", "x-lost"],
        "events": ["RESUME", "STOP"],
    }
    (directory / "profile.json").write_text(json.dumps(about))
    (directory / "system-emulator.json").write_text(json.dumps(known))
    return Profile.read(directory)


class World:
    """A machine of each version on one clock, each with a client that has negotiated."""

    def __init__(self, *profiles: Profile, **options: Any) -> None:
        self.clock = VirtualClock(date=0)
        self.greetings: list[Any] = []
        self.clients = [self._client(profile, **options) for profile in profiles]

    def _client(self, profile: Profile, **options: Any) -> QmpMonitor:
        machine = Machine(
            Clocks.of(self.clock),
            MemoryStorage(),
            MachineConfig(profile=profile, **options),
            random=Random(0),
            thread_id=1,
        )
        client = Monitors(machine).add_qmp("client")
        client.opened()
        self.greetings.append(json.loads(client.output())["QMP"])
        client.feed(b'{"execute": "qmp_capabilities"}')
        assert client.output() == b'{"return": {}}\r\n'
        return client

    def ask(self, command: str, **arguments: Any) -> list[Any]:
        """Every machine's messages in answer to a command, sent to all before any is read."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        request = json.dumps({"execute": command, "arguments": named}).encode()
        for client in self.clients:
            client.feed(request)
        self.clock.settle()
        return [[json.loads(line) for line in c.output().splitlines()] for c in self.clients]

    def values(self, command: str) -> list[Any]:
        return [messages[-1]["return"] for messages in self.ask(command)]

    def errors(self, command: str, **arguments: Any) -> list[str | None]:
        answers = [messages[-1] for messages in self.ask(command, **arguments)]
        return [answer["error"]["desc"] if "error" in answer else None for answer in answers]


@pytest.fixture
def world(small: Profile) -> World:
    return World(load("10.0"), small)


def test_each_says_its_version(world: World) -> None:
    shown = [
        {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": load().package},
        {"qemu": {"micro": 7, "minor": 1, "major": 0}, "package": "made up"},
    ]
    assert [greeting["version"] for greeting in world.greetings] == shown
    assert world.values("query-version") == shown


def test_each_lists_its_commands_in_its_order(world: World) -> None:
    ten, small = (
        [command["name"] for command in listed] for listed in world.values("query-commands")
    )
    assert small == COMMANDS.split()
    assert set(small) < set(ten)
    assert [name for name in ten if name in small] != small


def test_each_has_its_schema(world: World) -> None:
    ten, small = world.values("query-qmp-schema")
    entry_points = [info["name"] for info in small if info["meta-type"] in ("command", "event")]
    assert (
        entry_points
        == (
            "qmp_capabilities query-version query-commands query-qmp-schema stop STOP RESUME cont"
            " blockdev-add"
        ).split()
    )
    members = [info["members"] for info in small if info["meta-type"] == "object"]
    assert [{"name": "name", "type": "str"}] in members
    assert sum(info["meta-type"] == "event" for info in ten) == 55
    assert world.values("query-qmp-schema") == [ten, small]


def test_commands_that_only_the_other_has(world: World) -> None:
    assert world.errors("query-name") == [None, "What is query-name?"]
    assert world.errors("block_unlock", device="x") == [
        "The command block_unlock has not been found",
        "The command block_unlock is not served by qmpd yet",
    ]
    assert world.errors("x-lost") == [
        "The command x-lost has not been found",
        "What is x-lost?",
    ]


@pytest.mark.parametrize(
    ("arguments", "errors"),
    [
        ({"size": 1 << 20}, [None, "Parameter 'size' expects int16_t"]),
        ({"size": 512, "read_only": True}, [None, "Parameter 'read-only' is unexpected"]),
        ({"driver": "null-aio"}, [None, "Parameter 'driver' does not accept value 'null-aio'"]),
        ({"size": 512}, [None, None]),
    ],
)
def test_arguments_are_read_by_each_ones_types(
    world: World, arguments: dict[str, Any], errors: list[str | None]
) -> None:
    given = {"driver": "null-co", "node_name": "n", **arguments}
    assert world.errors("blockdev-add", **given) == errors


def test_policies_go_by_each_ones_features(small: Profile) -> None:
    policy = CompatPolicy(deprecated_input="reject", deprecated_output="hide")
    world = World(load("10.0"), small, compat=policy)

    assert [[m.get("event", "answer") for m in shown] for shown in world.ask("stop")] == [
        ["STOP", "answer"],
        ["answer"],
    ]
    assert world.errors("cont") == [None, "Deprecated command cont disabled by policy"]
    ten, listed = ({info["name"] for info in infos} for infos in world.values("query-qmp-schema"))
    assert {"STOP", "cont"} <= ten
    assert not {"STOP", "cont"} & listed


def test_the_human_monitors_differ_too(small: Profile) -> None:
    shown = []
    for profile in (load("10.0"), small):
        machine = Machine(
            Clocks.of(VirtualClock()),
            MemoryStorage(),
            MachineConfig(profile=profile),
            random=Random(0),
            thread_id=1,
        )
        monitor = Monitors(machine).add_hmp("people")
        monitor.opened()
        monitor.feed(b"info version\n")
        lines = monitor.output().decode().splitlines()
        shown.append((lines[0], next(line for line in lines if line[:1].isdigit())))

    assert shown == [
        ("QEMU 10.0.2 monitor - type 'help' for more information", f"10.0.2{load().package}"),
        ("Small 0.1.7, at your service", "0.1.7made up"),
    ]


def test_a_profile_need_not_have_both_programs(small: Profile) -> None:
    with pytest.raises(FileNotFoundError):
        small.program(Personality.STORAGE_DAEMON)


def test_profiles_are_loaded_once_by_name() -> None:
    assert load("10.0") is load("10.0") is load()
    with pytest.raises(
        ValueError, match=r"there is no profile '0\.9' \(there are: 5\.2, .*10\.0.*\)"
    ):
        load("0.9")


async def test_both_on_one_event_loop(small: Profile) -> None:
    async with aio.Machine(version="10.0") as ten, aio.Machine(version=small) as other:
        versions = [await vm.cmd("query-version") for vm in (ten, other)]
        assert [version["qemu"]["major"] for version in versions] == [10, 0]
        assert await ten.cmd("query-name") == {}
        with pytest.raises(CommandNotFound, match=r"^What is query-name\?$"):
            await other.cmd("query-name")
