"""Every command of both programs, given arguments that are wrong: the same errors as in QEMU."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

import pytest

from qmpd.block.model.driver_table import DRIVERS
from qmpd.errors import QmpError
from qmpd.monitor.qmp.served import SERVED
from qmpd.profile import Personality, Profile, load
from qmpd.profile.shipped import DEFAULT
from tests.differential.wrong_arguments import WrongArguments
from tests.profile.malformed import as_parsed
from tests.support.stdio import Gone, StdioProgram
from tests.support.versions import MEASURED, both_argv

COUNT: Final = int(os.environ.get("QMPD_WRONG_ARGUMENTS", "6"))
"""Objects for each command; 300 are a whole run."""

SEED: Final = os.environ.get("QMPD_WRONG_ARGUMENTS_SEED", "0")

ARGV: Final = {
    Personality.SYSTEM: (
        "qemu-system-x86_64 -machine none -nodefaults -display none -qmp stdio".split()
    ),
    Personality.STORAGE_DAEMON: (
        "qemu-storage-daemon --chardev stdio,id=compat_monitor0 --monitor compat_monitor0".split()
    ),
}

NOT_CARRIED_OUT: Final = frozenset(
    """
    quit migrate migrate-incoming migrate-recover nbd-server-start chardev-add chardev-change
    human-monitor-command object-add x-exit-preconfig qmp_capabilities rtc-reset-reinjection
    transaction blockdev-reopen announce-self netdev_add
    """.split()
)
"""Commands that are not given arguments in which nothing is wrong: what they do with them, such as
to end the program (QEMU's, of some), to wait for a client, or to take memory, is no matter here."""

ENDING: Final[tuple[tuple[str, str, str], ...]] = (
    ("5.2", "migrate-set-parameters", r'"tls-[a-z]+": null'),
    ("5.2|7.2|10.0|11.1", "calc-dirty-rate", r'"calc-time": [1-9][0-9]{0,4}[,}]'),
)
"""What ends or stops the real program of some versions: those, a command, and its arguments."""

KNOWN: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("calc-dirty-rate", ".*", ".* is not served by qmpd.*", "there is no memory to write to"),
    ("set-action", "ok", ".*Watchdogs are not served by qmpd.*", "there are none"),
)
"""Differences that stay: a command, patterns of what QEMU and qmpd answer, and why."""


class Program(StdioProgram):
    """One of the programs, past negotiation."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(argv, folder, timeout=60.0 + COUNT)
        self.message()
        self.execute({"execute": "qmp_capabilities"})

    def answers(self, name: str, objects: list[dict[str, Any]]) -> list[Any]:
        """What a command answers, given one object after the other."""
        lines = [json.dumps({"execute": name, "arguments": each}) for each in objects]
        self.send("\n".join(lines).encode() + b"\n")
        found: list[Any] = []
        while len(found) < len(objects):
            try:
                message = self.message()
            except (Gone, TimeoutError) as error:
                raise AssertionError(f"no answer to {lines[len(found)]}: {error}") from None
            if "event" not in message:
                found.append(message.get("error", "ok"))
        return found


def _is_wrong(profile: Profile, name: str, arguments: dict[str, Any]) -> bool:
    """Whether the arguments do not even fit the command."""
    info = profile.entry_points.commands[name]
    if not info.gen:
        return False
    if info.arguments is None:
        return bool(arguments)
    try:
        profile.reader.arguments(info, as_parsed(arguments))
    except QmpError:
        return True
    return False


def _commands(profile: Profile, personality: Personality) -> list[str]:
    listed = profile.program(personality).commands
    return [name for name in listed if name not in profile.beyond]


def _objects(profile: Profile, personality: Personality, name: str) -> list[dict[str, Any]]:
    version = "" if profile.name == DEFAULT else f"{profile.name}/"
    maker = WrongArguments(profile, f"{SEED}/{version}{personality.name}")
    info = profile.entry_points.commands[name]
    made = maker.objects(name, info, COUNT)
    # what takes no arguments gets some, or it is only asked again and again
    carried_out = name not in NOT_CARRIED_OUT and name in SERVED and info.arguments is not None
    others = frozenset(profile.types.object("BlockdevOptions").branches) - frozenset(DRIVERS)
    return [
        each
        for each in made
        if _is_wrong(profile, name, each)
        or (carried_out and _is_ours(each, others) and not _is_ending(profile, name, each))
    ]


def _is_ending(profile: Profile, name: str, arguments: dict[str, Any]) -> bool:
    return any(
        name == command and re.search(pattern, json.dumps(arguments))
        for versions, command, pattern in ENDING
        if profile.name in versions.split("|")
    )


def _is_ours(value: Any, others: frozenset[str]) -> bool:
    """Whether there is nothing in it that QEMU does and qmpd refuses: other formats of images."""
    if isinstance(value, dict):
        driver = value.get("driver")
        if isinstance(driver, str) and driver in others:
            return False
        value = list(value.values())
    return all(_is_ours(each, others) for each in value) if isinstance(value, list) else True


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("personality", list(ARGV), ids=lambda each: each.name.lower())
def test_the_same_error(personality: Personality, version: str, tmp_path: Path) -> None:
    profile = load(version)
    real_argv, our_argv = both_argv(version, ARGV[personality])
    real = Program(real_argv, tmp_path / "real")
    ours = Program(our_argv, tmp_path / "ours")
    differences = []
    try:
        for name in _commands(profile, personality):
            objects = _objects(profile, personality, name)
            print(f"{name}: {len(objects)} objects")
            for arguments, expected, got in zip(
                objects, real.answers(name, objects), ours.answers(name, objects), strict=True
            ):
                if got != expected and not _is_known(name, expected, got):
                    differences.append((name, json.dumps(arguments), expected, got))
    finally:
        ours.close()
        real.close()
    assert not differences, "\n".join(map(repr, differences))


def _is_known(name: str, expected: Any, got: Any) -> bool:
    return any(
        name == command
        and re.fullmatch(theirs, str(expected), re.S)
        and re.fullmatch(our, str(got), re.S)
        for command, theirs, our, _ in KNOWN
    )
