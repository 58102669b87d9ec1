"""Malformed arguments and options get the same error as from the real QEMU."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qmpd import profile
from qmpd.errors import QmpError
from qmpd.options.keyval import parse_keyval
from qmpd.profile import Profile
from qmpd.qapi.runtime.policy import CompatPolicy
from tests.profile.malformed import Malformed, as_parsed
from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, real_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

SYSTEM = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
SYSTEM += ["-qmp", "stdio"]
STORAGE_DAEMON = ["qemu-storage-daemon", "--chardev", "stdio,id=c", "--monitor", "c"]
DEFAULT = "10.0"
PROFILE = profile.load(DEFAULT)
REJECT = CompatPolicy(deprecated_input="reject", unstable_input="reject")
HIDE = CompatPolicy(deprecated_output="hide", unstable_output="hide")


class Negotiated(StdioProgram):
    """A real program past negotiation.

    :param policy: its compat policy
    :param version: the version that it is
    """

    def __init__(
        self, argv: list[str], cwd: Path, policy: CompatPolicy | None, version: str = DEFAULT
    ) -> None:
        super().__init__(real_argv(version, argv), cwd)
        self.policy = policy
        self.profile = profile.load(version)
        self.message()
        self.execute({"execute": "qmp_capabilities"})
        self.commands = {command["name"] for command in self.ask("query-commands")}

    def ask(self, command: str, **arguments: Any) -> Any:
        answer = self.execute({"execute": command, "arguments": arguments})[-1]
        return answer.get("return", answer.get("error"))


KINDS = ("system", "storage-daemon", "system, rejecting")
PROGRAMS = [(version, kind) for version in MEASURED for kind in KINDS]
# there are no policies before 6.0
PROGRAMS.remove(("5.2", "system, rejecting"))


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda param: " ".join(param))
def program(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Negotiated]:
    version, kind = request.param
    argv = STORAGE_DAEMON if kind == "storage-daemon" else SYSTEM
    policy = None
    if "rejecting" in kind:
        policy = REJECT
        argv = [*argv, "-compat", "deprecated-input=reject,unstable-input=reject"]
    program = Negotiated(argv, tmp_path_factory.mktemp("qemu"), policy, version)
    yield program
    program.close()


@pytest.fixture(scope="module")
def system(tmp_path_factory: Any) -> Iterator[Negotiated]:
    program = Negotiated(SYSTEM, tmp_path_factory.mktemp("qemu"), None)
    yield program
    program.close()


def _our_error(
    name: str, arguments: dict[str, Any], policy: CompatPolicy | None, of: Profile = PROFILE
) -> Any:
    info = of.entry_points.commands[name]
    try:
        if policy is not None:
            policy.check_command(info)
        of.reader.arguments(info, as_parsed(arguments), policy=policy)
    except QmpError as error:
        return {"class": error.error_class, "desc": error.desc}
    return None


EXAMPLES = int(os.environ.get("QMPD_WRONG_ARGUMENTS", "30"))
"""Times ten requests for each program; QMPD_WRONG_ARGUMENTS=200 makes 2,000."""


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=False), st.sampled_from([0.0, 0.01, 0.05, 0.2]))
def test_the_same_error_is_found_first(program: Negotiated, random: Random, defects: float) -> None:
    known = program.profile.entry_points.commands
    names = [name for name, info in known.items() if name in program.commands and info.gen]
    malformed = Malformed(program.profile.types, random, defects)
    requests = [
        (name, malformed.arguments(known[name].arguments)) for name in random.choices(names, k=10)
    ]

    lines = [json.dumps({"execute": name, "arguments": each}) for name, each in requests]
    program.send("\n".join(lines).encode())

    for name, arguments in requests:
        theirs = program.message()
        ours = _our_error(name, arguments, program.policy, program.profile)
        assert ours == theirs.get("error"), json.dumps({"execute": name, "arguments": arguments})


_SCALARS = st.one_of(
    st.sampled_from(["on", "off", "yes", "no", "true", "false", "y", "n", "On", ""]),
    st.sampled_from(["0x", "0x1p3", "08", "1e3", "nan", "1.0B", ".5k", "1.", "16E", "0x1E"]),
    st.from_regex(r"\A[-+]?(0x|0)?[0-9]{1,20}(\.[0-9]{0,3})?[kKMGTPEB]?\Z"),
    st.text("0123456789abxX.+-eEkKmMB ", max_size=6),
)
_OPTIONS = (
    "memory-backend-ram,id=a,size={},zz=1",
    "memory-backend-ram,id=a,size=1,merge={},zz=1",
    "memory-backend-ram,id=a,size=1,prealloc-threads={},zz=1",
    "memory-backend-ram,id=a,size=1,host-nodes.0={},zz=1",
    "memory-backend-ram,id=a,size=1,host-nodes={},zz=1",
    "memory-backend-ram,id=a,size=1,policy={},zz=1",
    "memory-backend-ram,id=a,size.a={},zz=1",
    "iothread,id=a,poll-max-ns={},zz=1",
    "throttle-group,id=a,limits.iops-total={},zz=1",
    "throttle-group,id=a,limits={},zz=1",
    "iothread,id=a,zz={},yy=2,xx=3,ww.x=4",
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(_OPTIONS), _SCALARS)
def test_options_get_the_same_error(system: Negotiated, form: str, scalar: str) -> None:
    text = form.format(scalar)
    theirs = system.ask("human-monitor-command", **{"command-line": f"object_add {text}"})

    ours = ""
    try:
        PROFILE.reader.read("ObjectOptions", parse_keyval(text, "qom-type").tree, keyval=True)
    except QmpError as error:
        ours = error.desc

    assert f"Error: {ours}\r\n" == theirs


@pytest.mark.parametrize("text", ["1.5k", "0.3M", "7.9999K", "3.14159265M", "2.0000001M", "0x10"])
def test_sizes_are_the_same(system: Negotiated, text: str) -> None:
    line = f"object_add memory-backend-ram,id=a,size={text}"
    assert system.ask("human-monitor-command", **{"command-line": line}) == ""
    theirs = system.ask("qom-get", path="/objects/a", property="size")
    system.ask("object-del", id="a")

    options = PROFILE.reader.read(
        "ObjectOptions",
        {"qom-type": "memory-backend-ram", "id": "a", "size": text},
        keyval=True,
    )

    assert options.size == theirs


_UNNAMED = (
    ("query-status", {"": 1}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "b", "": 1}),
    ("block-dirty-bitmap-add", {"": {"": 1}}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "": None}),
    ("blockdev-add", {"driver": "raw", "file": {"driver": "null-co", "": None}}),
    ("blockdev-add", {"driver": "raw", "file": {"driver": "raw", "": 1, "file": {"": 1}}}),
    ("blockdev-reopen", {"options": [{"driver": "null-co", "": ""}]}),
    ("transaction", {"actions": [{"type": "abort", "data": {"": 1}}]}),
    ("transaction", {"actions": [{"type": "abort", "data": {}, "": 1}]}),
    ("transaction", {"actions": [], "properties": {"": 1}}),
    ("object-add", {"qom-type": "iothread", "id": "o", "": 1}),
)
"""Requests whose wrong member has an empty name."""


@pytest.mark.parametrize(("name", "arguments"), _UNNAMED)
def test_a_member_may_have_an_empty_name(
    system: Negotiated, name: str, arguments: dict[str, Any]
) -> None:
    theirs = system.ask(name, **arguments)

    assert _our_error(name, arguments, None) == theirs


@pytest.mark.parametrize(("name", "arguments"), _UNNAMED)
def test_a_member_may_have_an_empty_name_under_a_policy(
    name: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    """The visitor reads the arguments first where parts of them may be refused."""
    program = Negotiated([*SYSTEM, "-compat", "deprecated-input=reject"], tmp_path, None)
    theirs = program.ask(name, **arguments)
    program.close()

    assert _our_error(name, arguments, CompatPolicy(deprecated_input="reject")) == theirs
