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

BOARD: Final = (
    *("-machine", "pc", "-S", "-device", "virtio-scsi-pci,id=scsi"),
    *("-device", "scsi-hd,drive=hd,id=hd0", "-device", "scsi-cd,drive=empty,id=cd0"),
    *("-chardev", "ringbuf,id=c1,size=16"),
)
"""A machine around the drives, which stands still."""

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
_PLUGGED: Final = (
    *("scsi-hd,drive=ro,id=hd1", "scsi-hd,drive=new,id=v0", "virtio-blk-pci,drive=n0,id=v1"),
    *(
        "scsi-hd,drive=hd",
        "scsi-cd,id=hd0",
        "nosuch",
        "nosuch,id=9",
        "driver=scsi-cd",
        "id=x",
        ",,",
    ),
    *("virtio-blk-pci", "scsi-hd,drive=nope", "scsi-cd,id=new,x=1", "scsi-cd,bus=nope.0", "=", ""),
    *("virtio-blk-pci,drive=ro", "scsi-hd,drive=ro,share-rw=maybe", "scsi-cd,drive=empty,id=v2"),
)
"""What device_add is given."""

_STORIES: Final = (
    *(
        ("drive_mirror -f {0} new", "info block-jobs", "block_job_{1} {0}", "info block-jobs"),
        ("drive_mirror -f {0} other raw", "block_job_{1} {0}", "drive_del {0}", "info block -v"),
        ("drive_mirror {0} new", "block_job_complete {0}", 'qemu-io {0} "map"', "commit {0}"),
        ("block_stream {0}", "block_job_{1} {0}", "info block {0}"),
        (
            "drive_backup -f {0} new",
            'qemu-io {0} "write 0 64k"',
            "drive_backup -n -f {0} new qcow2",
        ),
    ),
    *(
        ("savevm s0", "snapshot_blkdev_internal {0} s1", "info snapshots", "loadvm s0", "delvm s0"),
        ("savevm", "info snapshots", "loadvm s0", "info status"),
        (
            "snapshot_blkdev {0} new",
            'qemu-io {0} "write -P 1 0 64k"',
            "commit {0}",
            "info block -v",
        ),
        ("snapshot_blkdev -n {0} base qcow2", "snapshot_blkdev {0} other raw", "info block -n"),
        (
            "snapshot_blkdev_internal {0} s0",
            "snapshot_delete_blkdev_internal {0} s0 1",
            "savevm s0",
        ),
    ),
    *(
        ("nbd_server_start -w unix:sock", "nbd_server_add -w {0} e", "nbd_server_remove {2}e"),
        ("nbd_server_start -a -w unix:sock", "nbd_server_remove {2}{0}", "drive_del {0}"),
        ("nbd_server_start unix:sock", "nbd_server_add {0}", "eject {2}{0}", "nbd_server_stop"),
        ("nbd_server_start unix:sock", "nbd_server_start unix:sock2", "nbd_server_stop"),
    ),
    *(
        ("drive_add 0 if=none,id=new,file=plain,format=raw", "info block new", "drive_del new"),
        ("drive_add -n 0 driver=null-co,node-name=m0", "info block -n m0", "drive_del m0"),
        ("object_add throttle-group,id=g0", "qom-list /objects", "object_del g0", "object_del g0"),
        (
            "object_add iothread,id=t0",
            "info iothreads",
            "qom-get /objects/t0 type",
            "object_del t0",
        ),
        ("chardev-add ringbuf,id=c0,size=16", 'ringbuf_write c0 "a b"', "ringbuf_read c0 2"),
        ("chardev-add null,id=c0", "chardev-change c0 ringbuf,id=c0", "chardev-remove c0"),
    ),
    *(
        ("eject {2}empty", "change empty plain raw", "info block empty", "eject {2}empty"),
        ("change empty plain", "change {2}empty top qcow2 read-only", "info block empty"),
        ("device_add scsi-hd,drive=ro,id=hd1", "device_del hd1", "device_del hd1", "drive_del ro"),
        ("block_set_io_throttle {0} 1000 0 0 0 0 0", "info block {0}", "drive_del {0}"),
        ("block_resize {0} 2M", 'qemu-io {0} "length"', "block_resize {0} 1M", "commit {0}"),
        ("migrate_set_capability events on", "migrate -d unix:nope", "info migrate", "savevm s0"),
        ("migrate_set_parameter max-bandwidth 1", "info migrate_parameters", "migrate_cancel"),
    ),
)
"""Lines that mean what the line before has made."""

_VERBS: Final = ("pause", "resume", "cancel", "cancel -f", "complete", "set_speed 1M")
_DAMAGES: Final = (
    '"',
    "\\",
    "-",
    " ",
    "\t",
    "\n",
    "\v",
    ",",
    "=",
    "{",
    "'",
    "é",
    "\x7f",
    "#",
    "/",
    "0",
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
    "id": ("t0", "t1", "g0", "s", "new", "hd", "x", "c0", "c1", '""', "hd0", "cd0", "hd1", "v0"),
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
    made: list[str] = []
    while len(made) < count:
        if random.random() < 0.1:
            made += _story(random)
        else:
            line = random.choice(_MAKERS)(random)
            made.append(_damaged(random, line) if random.random() < 0.12 else line)
    return iter(made[:count])


def _story(random: Random) -> list[str]:
    lines = random.choice(_STORIES)
    device, verb = random.choice(("hd", "hd", "n0", "ro")), random.choice(_VERBS)
    named, _, more = verb.partition(" ")
    flag = "-f " if more == "-f" else ""
    told = []
    for line in lines:
        text = line.replace("block_job_{1} {0}", f"block_job_{named} {flag}{{0}}")
        if more and not flag and text.startswith(f"block_job_{named} "):
            text = f"{text} {more}"
        told.append(text.format(device, named, random.choice(("", "-f "))))
    return told


def _damaged(random: Random, line: str) -> str:
    """A line with something in it that is not meant to be there, or with something missing."""
    place = random.randint(0, len(line))
    match random.randrange(4):
        case 0:
            return line[:place] + random.choice(_DAMAGES) + line[place:]
        case 1:
            return line[:place] + line[place + random.randint(1, 4) :]
        case 2:
            return line[:place]
    words = line.split(" ")
    random.shuffle(words[1:])
    return " ".join([*words, random.choice(words)])


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
        case Kind.OPTIONS if parameter.name == "device":
            return random.choice(_PLUGGED)
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
NOT_ON_A_BOARD: Final = frozenset({"cont", "c", "system_wakeup"})
"""What lets a guest run, which qmpd has not."""

_BLOCK_NAMES: Final = [
    name
    for name in _NAMES
    if any(p.kind is Kind.BLOCK_DEVICE for p in COMMANDS[name].parameters)
    or name.startswith(("drive", "nbd", "object"))
]
_MAKERS: Final[tuple[Callable[[Random], str], ...]] = (
    *(_of_block_layer, _of_block_layer, _of_block_layer, _of_any, _of_any, _of_info, _of_nothing),
)
