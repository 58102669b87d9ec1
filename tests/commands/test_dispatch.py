"""What is checked between a request and its handler, and what replies are made of."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from qmpd import profile
from qmpd.errors import CommandNotFound, GenericError
from qmpd.monitor.qmp.served import MODULES, SERVED
from qmpd.profile import Personality
from qmpd.profile.shipped import VERSIONS
from qmpd.qapi.runtime.policy import CompatPolicy
from qmpd.wire.encode import Raw
from tests.support.introspection import check_value
from tests.support.machines import TestMachine

PROFILE = profile.load()
COMMANDS = PROFILE.entry_points.commands

REFUSED = {
    "query-acpi-ospm-status",
    "query-balloon",
    "query-hotpluggable-cpus",
    "query-hv-balloon-status-report",
    "query-sev-capabilities",
    "query-sev-launch-measure",
    "query-sgx",
    "query-sgx-capabilities",
    "query-vm-generation-id",
}
"""Queries that have nothing to tell of a machine without hardware, and say so."""

QUERIES = sorted(
    name
    for name in SERVED
    if name in COMMANDS
    and COMMANDS[name].returns is not None
    and COMMANDS[name].arguments is None
    and name not in REFUSED
)
UNSERVED = sorted(set(COMMANDS) - set(SERVED))


def _populated() -> TestMachine:
    test = TestMachine(name="guest", cpus=2)
    for name in ("n0", "n1"):
        test.execute("blockdev-add", driver="null-co", node_name=name, size=1 << 20)
    test.execute("block-dirty-bitmap-add", node="n0", name="b")
    test.execute("object-add", qom_type="iothread", id="io0")
    test.execute(
        "blockdev-create", job_id="j", options={"driver": "file", "filename": "/a", "size": 512}
    )
    return test


@pytest.mark.parametrize("name", QUERIES)
def test_replies_are_of_the_type_that_the_schema_says(name: str) -> None:
    info = COMMANDS[name]
    value = _populated().execute(name)
    assert info.returns is not None
    check_value(PROFILE, info.returns, value.value if isinstance(value, Raw) else value)


def test_replies_of_queries_with_arguments() -> None:
    test = _populated()
    for name, arguments in (
        ("query-named-block-nodes", {"flat": True}),
        ("query-blockstats", {"query_nodes": True}),
        ("x-debug-block-dirty-bitmap-sha256", {"node": "n0", "name": "b"}),
        ("human-monitor-command", {"command_line": "info block"}),
    ):
        returns = COMMANDS[name].returns
        assert returns is not None
        check_value(PROFILE, returns, test.execute(name, **arguments))


def test_every_handler_is_of_a_command_of_the_schema() -> None:
    known = {name for version in VERSIONS for name in profile.load(version).entry_points.commands}
    assert set(SERVED) <= known


@pytest.mark.parametrize("name", MODULES)
def test_the_list_of_a_module_is_that_of_its_handlers(name: str) -> None:
    module = import_module(f"qmpd.monitor.qmp.{name}")
    assert MODULES[name] == tuple(module.HANDLERS)
    assert all(SERVED[command] is handler for command, handler in module.HANDLERS.items())


@pytest.mark.parametrize("personality", list(Personality))
def test_query_commands_lists_what_is_served_in_the_real_order(personality: Personality) -> None:
    listed = [e["name"] for e in TestMachine(personality=personality).execute("query-commands")]
    assert listed == [name for name in PROFILE.program(personality).commands if name in SERVED]


@pytest.mark.parametrize("name", UNSERVED)
def test_commands_that_are_not_served_say_so(name: str) -> None:
    test = TestMachine()
    with pytest.raises(GenericError) as caught:
        test.execute(name)
    if COMMANDS[name].arguments is None:
        assert "is not served by qmpd" in caught.value.desc
        assert caught.value.desc == f"The command {name} is not served by qmpd yet"


def _error(test: TestMachine, command: str, **arguments: Any) -> tuple[str, str]:
    with pytest.raises((GenericError, CommandNotFound)) as caught:
        test.execute(command, **arguments)
    return caught.value.error_class, caught.value.desc


def test_the_storage_daemon_has_no_commands_of_the_emulator() -> None:
    test = TestMachine(personality=Personality.STORAGE_DAEMON)
    assert _error(test, "query-status") == (
        "CommandNotFound",
        "The command query-status has not been found",
    )


def test_preconfig() -> None:
    test = TestMachine(preconfig=True)
    assert _error(test, "stop")[1].startswith("The command 'stop' is permitted only after")
    test.execute("x-exit-preconfig")
    assert test.events == [("RESUME", None)]
    assert _error(test, "x-exit-preconfig")[1] == (
        "The command is permitted only before machine initialization"
    )


def test_policy_comes_before_arguments() -> None:
    test = TestMachine(compat=CompatPolicy(unstable_input="reject"))
    assert _error(test, "x-debug-block-dirty-bitmap-sha256", nonsense=1) == (
        "CommandNotFound",
        "Unstable command x-debug-block-dirty-bitmap-sha256 disabled by policy",
    )


def test_run_states() -> None:
    test = TestMachine(paused=True)
    states = [test.execute("query-status")["status"]]
    for command in ("stop", "cont", "cont", "stop", "stop", "system_reset", "cont"):
        test.execute(command)
        states.append(test.execute("query-status")["status"])
    test.execute("quit")
    assert states == [
        *("prelaunch", "prelaunch", "running", "running", "paused", "paused", "prelaunch"),
        "running",
    ]
    assert [name for name, _ in test.events] == ["RESUME", "STOP", "RESET", "RESUME", "SHUTDOWN"]
    assert test.events[-1][1] == {"guest": False, "reason": "host-qmp-quit"}
