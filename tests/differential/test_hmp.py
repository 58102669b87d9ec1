"""HMP through human-monitor-command: what is returned, and what goes to standard output."""

from __future__ import annotations

import json
import re

import pytest

from tests.differential.pair import Pair
from tests.support.normal import normal_text
from tests.support.versions import on_each_version

LINES = [
    *("", "   ", "# foo", "nosuch", 'nosuch"x', "info nosuch", "info block x", "info block -nv"),
    *(
        "info block -n n0",
        "info block -x",
        'info block "n0',
        "info name",
        "info uuid",
        "info status",
    ),
    *("info block-jobs", "info name x", "commit", "commit x", "commit all", "commit n0", "quit x"),
    *(f"block_resize n0 {size}" for size in ("0x10", "0x10k", "+.5", "1.7zz", "-1", "8E", "1.5b")),
    *("block_resize x 5", "block_job_cancel x", "block_job_pause x", "info block"),
    *("qemu-io", "qemu-io n0", "qemu-io -d n0", "qemu-io -x n0 length", "qemu-io n0 length x"),
    *('qemu-io n0 "le\\x"', 'qemu-io n0 "read', 'qemu-io "n0" "length"', '  qemu-io   n0  "map"  '),
    *('qemu-io nope "length"', 'qemu-io -d nope "length"', 'qemu-io ro "write 0 1"'),
    *('qemu-io ro "discard 0 1"', 'qemu-io ro "truncate 1"', 'qemu-io ro "read -P 0 0 5"'),
]
_TIME = re.compile(r'"timestamp": {[^}]*}, ')
OBJECTS = [
    *("object_add", "object_add nosuch", "object_add iothread", "object_add iothread,id=9"),
    *(
        "object_add iothread,id=i0",
        "object_add qom-type=iothread,id=i0",
        "object_del",
        "object_del x",
    ),
    *(
        "object_add iothread,id=i1,poll-max-ns=x",
        "object_add iothread,id=i1,foo=1",
        "object_add x=1",
    ),
    '  object_add {"qom-type": "iothread", "id": "i2"}',
    *("object_add {", "object_add throttle-group,id=g,limits.iops-total=5", "object_add =x"),
    *("object_del i0", "object_del i0", "object_del i2 x", "object_del i2", "object_del g"),
]
EXPORTS = [
    *("nbd_server_stop", "nbd_server_add n0", "nbd_server_remove n0", "nbd_server_start"),
    *("nbd_server_start -w unix:s", "nbd_server_start -x unix:s", "nbd_server_start unix:"),
    *("nbd_server_start x", "nbd_server_start :", "nbd_server_start [::1", "nbd_server_start fd:"),
    *("nbd_server_start unix:/nope/s/x", "nbd_server_start unix:s", "nbd_server_start unix:t"),
    *("nbd_server_add", "nbd_server_add nope", "nbd_server_add n0", "nbd_server_add n0"),
    *("nbd_server_add -w ro ro", "nbd_server_add n0 other x", "nbd_server_add n0 other"),
    *(
        "nbd_server_remove",
        "nbd_server_remove x",
        "nbd_server_remove n0",
        "nbd_server_remove -f ro",
    ),
    *("nbd_server_stop x", "nbd_server_stop", "nbd_server_start -a unix:s", "nbd_server_stop"),
]
IO = [
    *("nosuch", "read 1", "read -Z 0 1", "write -P 300 0 1", "read 2M 1", "write 1M 1", "alloc 2M"),
    *("alloc -1", "alloc 0 x", "map", "length", "info", "flush", "discard 0 64k", "discard 0 2M"),
    *("truncate 5M", "truncate x", "truncate 1 2", "sleep 1", "reopen", "reopen -rw"),
    *("reopen -c bad", "reopen x", "help nosuch", "help length", "help", "write -z -u 0 64k"),
    *("write 0 0", "read 0 0", "write 0 4G", "write -q 0 1", "read -P 0 0 10", "read -P 0xab 0 10"),
    *("aio_write 0 64k", "aio_read -q 0 1", "aio_flush", "aio_write 2M 1", "aio_read 2M 1"),
    *("writev 0 1 2 3", "readv 0 1 2 3", "open x", "write -b 0 1k", "read -b 0 1k", "write -b 0 1"),
    *("write -c 0 64k", "write -c 0 1", "zone_report 0 1", "break a b", "remove_break a"),
    *("resume a", "write  0x10  1.5k", "write 0 1.5", "write 0 1e3", "write -- 0 1", "write -1 1"),
    *("read -v 0 40", "read -l 5 0 40", "read -P 7 -l 100 0 40", "read -P 7 -s 2 -l 10 0 40"),
    *("read x 1", "read 0 99999999999999999999", "write -n 0 64k", "write -u 0 1"),
    *("read +0x10 1", "read +.5k 1", "read 1.7k 1", "read 0x10k 1", "read 1.0b 1", "read .9k 1"),
    *("write -zP 3 0 1", "write -zn 0 1", "discard x 1", "discard 0", "read -P zz 0 1"),
]


LONG = [
    *(f"block_job_pause {'x' * count}" for count in (1023, 1024)),
    *(f"block_job_pause {blank}{'é' * 600}" for blank in ("", "x", '"')),
    f'block_job_pause "{"y" * 1023}z"',
    f"help {'x' * 1100}",
    f"help{' nope' * 16}",
    f"help{' nope' * 17}",
]
"""Words of which the end is forgotten."""
OPTIONS = [
    *('device_add "a\\tb"', 'device_add "x', "device_add x,id=9 y", "device_add x y", "device_add"),
    *('object_add "x', "object_add iothread,id=9 =x", "object_add iothread,id=o =x", "object_add"),
]
"""Options that are read with the line, where it goes on after them."""
TRACE_EVENTS = [
    f"trace-event {event} off{processor}"
    for event in ("nope", "bdrv_co*", "guest_cpu_enter")
    for processor in ("", " 0", " 0x1f", " -1", " 0xffffffff")
]
PARAMETERS = [
    f"migrate_set_parameter {name} {value}"
    for name in (
        *("cpu-throttle-initial", "multifd-channels", "downtime-limit", "x-checkpoint-delay"),
        *("xbzrle-cache-size", "announce-rounds", "max-bandwidth", "block-incremental", "mode"),
        *("vcpu-dirty-limit", "compress-level", "cpu-throttle-tailslow", "cpr-exec-command", "x"),
    )
    for value in (
        *("-1", "-0", str(2**63), str(2**64), "256", "257", "1k", "1-2", '" 5"', "8E", "on", '""'),
        *("none ", "a b", "'a' #b", "a\\", '"a', "normal", "0x10"),
    )
]


@pytest.fixture(scope="module", autouse=True)
def nodes(pair: Pair) -> None:
    node = {"driver": "null-co", "size": 1 << 20}
    pair.execute("blockdev-add", **node, **{"node-name": "n0"})
    pair.execute(
        "blockdev-add", **node, **{"node-name": "ro", "read-only": True, "read-zeroes": True}
    )


def _run(pair: Pair, line: str) -> None:
    """Run `line` in both; the same replies, and the same lines on standard output."""
    request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    shown = []
    for program in (pair.real, pair.ours):
        program.send(json.dumps(request).encode())
        lines = [program.line().decode()]
        while not lines[-1].startswith('{"return"'):
            lines.append(program.line().decode())
        shown.append([_TIME.sub("", normal_text(text)) for text in lines])
    assert shown[1] == shown[0]


@on_each_version
@pytest.mark.parametrize("line", LINES)
def test_line(pair: Pair, line: str) -> None:
    _run(pair, line)


@on_each_version
def test_exports_in_turn(pair: Pair) -> None:
    for line in EXPORTS:
        _run(pair, line)


@on_each_version
def test_objects_in_turn(pair: Pair) -> None:
    for line in OBJECTS:
        _run(pair, line)


@on_each_version
@pytest.mark.parametrize("command", IO)
def test_qemu_io(pair: Pair, command: str) -> None:
    _run(pair, f'qemu-io n0 "{command}"')


@on_each_version
@pytest.mark.parametrize("lines", [LONG, OPTIONS, TRACE_EVENTS, PARAMETERS])
def test_lines_in_turn(pair: Pair, lines: list[str]) -> None:
    for line in lines:
        _run(pair, line)
