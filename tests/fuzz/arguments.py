"""Commands with arguments that are nearly right, and lines of the human monitor."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from qmpd.monitor.hmp.commands import COMMANDS
from qmpd.monitor.hmp.info import INFO
from qmpd.profile import Personality, load
from tests.differential.wrong_arguments import WrongArguments
from tests.exhaustion.beside import Client
from tests.fuzz.fuzzer import LIMIT, Fuzzer, sound

PROFILE: Final = load("10.0")
LEFT_OUT: Final = frozenset(
    "quit q system_reset system_powerdown x-exit-preconfig qmp_capabilities".split()
)
"""What ends the program, as it should."""
NAMES: Final = ("disk0", "a", "n", "r", "b", "j", "e", "g", "f")
"""Of nodes, a bitmap, a job, an export, a throttle group, a file in memory."""
SETUP: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("blockdev-add", {"driver": "null-co", "node-name": "a", "size": 1 << 20}),
    ("blockdev-create", {"job-id": "c", "options": {"driver": "file", "filename": "f", "size": 0}}),
    ("blockdev-add", {"driver": "file", "node-name": "f", "filename": "f"}),
    (
        "blockdev-create",
        {"job-id": "d", "options": {"driver": "qcow2", "file": "f", "size": 1 << 20}},
    ),
    ("blockdev-add", {"driver": "qcow2", "node-name": "n", "file": "f"}),
    ("blockdev-add", {"driver": "raw", "node-name": "r", "file": "a"}),
    ("object-add", {"qom-type": "throttle-group", "id": "g"}),
    ("block-dirty-bitmap-add", {"node": "disk0", "name": "b"}),
    ("block-dirty-bitmap-add", {"node": "n", "name": "b", "persistent": True}),
    ("blockdev-backup", {"job-id": "j", "device": "disk0", "target": "a", "sync": "full"}),
    ("blockdev-mirror", {"job-id": "j", "device": "disk0", "target": "n", "sync": "full"}),
    ("blockdev-snapshot", {"node": "disk0", "overlay": "n"}),
    ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd"}}}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "disk0"}),
    ("job-dismiss", {"id": "c"}),
    ("job-dismiss", {"id": "d"}),
    ("job-cancel", {"id": "j"}),
    ("blockdev-del", {"node-name": "n"}),
    ("blockdev-del", {"node-name": "r"}),
    ("block-export-del", {"id": "e", "mode": "hard"}),
    ("nbd-server-stop", {}),
)
WORDS: Final = (
    *NAMES,
    *("0", "1", "-1", "1M", "9" * 30, "0x", "-f", "-n", "on", "full", "qcow2", "raw", "all"),
    *("write", "read", "-P", "512", "512k", "discard", "aio_write", "flush", "map", "-z", "-u"),
    *('"', "'", "\\", ",", "=", "=on,", "if=none", "file=f", "id=x", "null-co,size=1", "%", "()"),
    *("é", "\0", "\U0001f600", "driver=qcow2", "unix:nbd", "$pc", "1+1", "/x 1", "throttle-group"),
)

_COMMANDS: Final = sorted(set(PROFILE.program(Personality.SYSTEM).commands) - LEFT_OUT)
_LINES: Final = [
    *(name for name in COMMANDS if name not in LEFT_OUT),
    *(f"info {name}" for name in INFO),
    *(['qemu-io disk0 "'] * 5),
]


def _line(chance: Random) -> dict[str, Any]:
    """A line of the human monitor."""
    words = [chance.choice(_LINES), *chance.choices(WORDS, k=chance.randrange(6))]
    arguments: dict[str, Any] = {"command-line": chance.choice((" ", " ", " ", "")).join(words)}
    return {"execute": "human-monitor-command", "arguments": arguments}


def _named(chance: Random, value: Any) -> Any:
    """`value` with some of its short strings replaced by names that there may be."""
    if isinstance(value, dict):
        return {name: _named(chance, member) for name, member in value.items()}
    if isinstance(value, list):
        return [_named(chance, item) for item in value]
    if isinstance(value, str) and len(value) < 3 and chance.random() < 0.7:
        return chance.choice(NAMES)
    return value


def _request(chance: Random) -> dict[str, Any]:
    kind = chance.random()
    if kind < 0.2:
        name, arguments = chance.choice(SETUP)
    elif kind < 0.35:
        return _line(chance)
    else:
        name = chance.choice(_COMMANDS)
        info = PROFILE.entry_points.commands[name]
        maker = WrongArguments(PROFILE, str(chance.random()))
        *_, made = maker.objects(name, info, chance.choice((1, 2)))
        arguments = _named(chance, made)
    return {"execute": name, "arguments": arguments}


class Arguments(Fuzzer):
    """A client of a monitor; an input is a few of its requests, of which each is counted."""

    name = "arguments"
    options = ("--disk", "disk0=1M", "--as", "system")
    life = 2000
    # what is added may stay
    memory = 96 << 20
    descriptors = 500

    @staticmethod
    def make(chance: Random) -> Any:
        return [_request(chance) for _ in range(8)]

    def begin(self) -> None:
        self._client = Client(self.daemon.folder / "hostile", timeout=LIMIT)

    def play(self, made: Any) -> int:
        self._client.send(b"\n".join(json.dumps(request).encode() for request in made))
        for _ in made:
            while sound(self._client.line()).startswith(b'{"timestamp"'):
                pass
        return len(made)

    def leave(self) -> None:
        self._client.close()
