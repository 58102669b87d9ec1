"""Random lines of the human monitor, made of qmpd's table of its commands, from a seed.

What they name is there (`OPTIONS`, `SET_UP`), was made by an earlier line, or is not there at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from qmpd.monitor.hmp.command_table import HmpCommand
from qmpd.monitor.hmp.commands import COMMANDS
from qmpd.monitor.hmp.info import INFO
from qmpd.monitor.hmp.line import Kind, Parameter

IMAGES: Final = ("-f qcow2 base 1M", "-f qcow2 -b base -F qcow2 top", "-f raw plain 1M")
"""What qemu-img makes in the folder of each program."""

OPTIONS: Final = (
    *("-drive", "if=none,id=hd,file=top,format=qcow2,node-name=top"),
    *("-drive", "if=none,id=ro,file=plain,format=raw,read-only=on"),
    *("-drive", "if=none,id=empty"),
)
"""The drives."""

SET_UP: Final[tuple[dict[str, Any], ...]] = (
    {"driver": "null-co", "node-name": "n0", "size": 1 << 20, "read-zeroes": True},
    {"driver": "null-co", "node-name": "n1", "size": 1 << 20, "read-only": True},
)
"""Nodes that are added."""

_DEVICES: Final = ("hd", "hd", "ro", "empty", "n0", "n1", "top", "new", "nope", '""', '"hd"')
_FILES: Final = ("new", "other", "nope/x", '"new"', "null-co://", '""', "top")
_SIZES: Final = (
    *("0", "1", "512", "1k", "1M", "2m", "1.5", ".5", "1.7zz", "-1", "0x10", "0x10k", "8E", "1e3"),
    *("+1", "99999999999999999999", "x", "1b", '"1"', "1.0001k", "0x", "010"),
)
_INTEGERS: Final = (
    *(
        "0",
        "1",
        "-1",
        "2+3*4",
        "(1",
        "1/0",
        "0x1f",
        "~0",
        "1 << 2",
        "x",
        "'a'",
        "$pc",
        "-",
        "9" * 20,
    ),
    *("1,2", "5%2", "1|6&3", "7^2", "(1+2)*3"),
)
_WORDS: Final = ("x", "new", '"a b"', '"a\\tb"', '"open', "é", "all", "on", "-x", "a,b=c", '""')
_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "command": (
        *('"read 0 512"', '"write 0 1k"', '"write -P 7 64k 64k"', '"read -P 7 64k 512"', '"map"'),
        *('"length"', '"flush"', '"discard 0 64k"', '"read 2M 1"', '"nosuch"', "length", '"help"'),
        *('"truncate 1M"', '"alloc 0"', '"write -z 0 64k"', '"info"', '"read -v 0 16"', '"reopen"'),
        *('"aio_flush"', '"read 0 1e1"', '"write -c 0 64k"', '"read -P 0 0 0x10"', '"write 0 -1"'),
    ),
    "uri": ("x", "unix:", "tcp:", "fd:nope", "unix:sock", "x:y", "tcp:host:port", "exec"),
    "format": ("qcow2", "raw", "nope", '""'),
    "read-only-mode": ("retain", "read-only", "read-write", "x"),
    "capability": ("events", "dirty-bitmaps", "xbzrle", "x", "return-path", "multifd"),
    "parameter": ("downtime-limit", "max-bandwidth", "tls-creds", "x", "cpu-throttle-initial"),
    "value": ("1", "0", "-1", "1k", "x", "101", "99999999999999999999", "0x10"),
    "object": (
        *("iothread,id=t0", "throttle-group,id=g0", "iothread", "nosuch,id=x", "iothread,id=9"),
        *('{"qom-type": "iothread", "id": "t1"}', "iothread,id=t0,x=1", "id=t0", "{", ",,", "=x"),
        *(
            "secret,id=s,data=x",
            "iothread,id=t2,poll-max-ns=zz",
            "throttle-group,id=g1,x-iops-total=1",
        ),
    ),
    "id": ("t0", "t1", "g0", "s", "new", "hd", "x", "c0", "c1", '""'),
    "opts": (
        *("if=none,id=new,driver=null-co", "if=none,id=hd", "driver=null-co,node-name=m0", "x"),
        *("if=none,file=plain,format=raw,id=p", "if=scsi", "if=none,id=9", "id=e,if=none", "if=x"),
        *("driver=null-co", "node-name=m1,driver=raw,file=n0", "if=none,driver=nope,id=z", ""),
    ),
    "args": ("null,id=c0", "ringbuf,id=c1,size=16", "null", "nosuch,id=x", "ringbuf,id=c2,size=3"),
    "device": ("c0", "c1", "x"),
    "state": ("none", "active", "pre-switchover", "x"),
    "action": ("none", "reset", "x", "inject-nmi"),
    "keys": ("a", "ctrl-alt-f1", "x-y", "nosuch", "0x1e", "a-", "0x100"),
    "property": ("type", "x", "size"),
    "path": ("/", "/objects", "/objects/t0", "/x", "objects", "t0", '""'),
    "name": ("s0", "s1", "new", "x", "info", "hd", "n0", "1", "help", "block", "bdrv_co_*", "g*x"),
    "fdname": ("x", "0", "9a", '""'),
    "data": ("abc", '"a b"', "é"),
    "level": ("0", "1", "x"),
}
"""What parameters of some names are given, besides what is wrong for any."""

_NOT_MADE: Final = frozenset(
    {"quit", "q", "clear", "calc_dirty_rate", "system_wakeup", "screendump"}
)
"""What ends the programs, waits, or works with a screen; the last two have tests of their own."""

_NOT_SHOWN: Final = frozenset({"trace-events", "qtree", "pci", "dirty_rate"})
"""Information that depends on the program's own devices, or is too long to be made often."""


def lines(random: Random, count: int) -> Iterator[str]:
    """So many lines."""
    for _ in range(count):
        yield random.choice(_MAKERS)(random)


def _of_block_layer(random: Random) -> str:
    return _line(random, random.choice(_BLOCK_NAMES), COMMANDS)


def _of_any(random: Random) -> str:
    return _line(random, random.choice(_NAMES), COMMANDS)


def _of_info(random: Random) -> str:
    return f"info {_line(random, random.choice(_INFO_NAMES), INFO)}"


def _of_nothing(random: Random) -> str:
    name = random.choice(_NAMES)
    return random.choice(
        (
            *("", "   ", "# x", f"{name}x", name[:-1], name.upper(), f"  {name}", f"{name}/x"),
            *("info", "info x", "info info", f"info {name}", f'"{name}"', "help x", f"? {name}"),
            *(f"help {name}", f"help info {random.choice(_INFO_NAMES)}", "infox", f"help {name} x"),
        )
    )


def _line(random: Random, name: str, table: dict[str, HmpCommand]) -> str:
    words = [name]
    for parameter in table[name].parameters:
        if parameter.kind is Kind.FLAG:
            if random.random() < 0.3:
                words.append(f"-{parameter.flag}")
        elif not (parameter.optional and random.random() < 0.5) and random.random() < 0.95:
            words.append(_word(random, parameter))
    if random.random() < 0.08:
        words.insert(random.randint(1, len(words)), random.choice((*_WORDS, "-n", "-", "--")))
    return random.choice((" ", " ", " ", "  ", " \t")).join(words)


def _word(random: Random, parameter: Parameter) -> str:
    if random.random() < 0.07:
        return random.choice(_WORDS)
    match parameter.kind:
        case Kind.BLOCK_DEVICE:
            return random.choice(_DEVICES)
        case Kind.FILENAME:
            return random.choice(_FILES)
        case Kind.SIZE | Kind.MEBIBYTES:
            return random.choice(_SIZES)
        case Kind.INTEGER | Kind.INTEGER32:
            return random.choice(_INTEGERS)
        case Kind.SECONDS:
            return random.choice(("1", "0.5", "10ms", "x", "1us", "3s", "inf", "-1", "1e3", "0x10"))
        case Kind.BOOLEAN:
            return random.choice(("on", "off", "x", "ON", '"on"'))
    if parameter.name in ("target", "snapshot-file"):
        return random.choice(_FILES)
    return random.choice(_TEXTS.get(parameter.name, _WORDS))


_NAMES: Final = sorted(set(COMMANDS) - _NOT_MADE)
_INFO_NAMES: Final = sorted(set(INFO) - _NOT_SHOWN)
_BLOCK_NAMES: Final = [
    name
    for name in _NAMES
    if any(p.kind is Kind.BLOCK_DEVICE for p in COMMANDS[name].parameters)
    or name.startswith(("drive", "nbd", "object"))
]
_MAKERS: Final[tuple[Callable[[Random], str], ...]] = (
    *(_of_block_layer, _of_block_layer, _of_block_layer, _of_any, _of_any, _of_info, _of_nothing),
)
