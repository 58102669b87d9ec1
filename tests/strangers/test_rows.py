"""Small kinds of fault that QEMU's own block tests have shown, each by its shortest way.

The letters are those of the list by which they were found; the comments name QEMU's tests.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.differential.pair import OPTIONS
from tests.strangers.world import start
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


QCOW2 = ("-f", "qcow2", "1M")
OVER = ("-f", "qcow2", "-b", "base", "-F", "qcow2", "1M")
CHAIN = {"base": QCOW2, "mid": ("-f", "qcow2", "-b", "base", "-F", "qcow2", "1M")}


def test_commit_of_a_drive_that_a_device_uses(tmp_path: Path) -> None:
    """J: tests 274 and 130."""
    images = {"base": QCOW2, "top": OVER}
    options = ("-S", "-machine", "pc", "-drive", "if=virtio,id=d,file=top,format=qcow2")
    both = start(tmp_path, *options, images=images)
    both.io("d", "write -P 1 0 64k")
    both.execute("human-monitor-command", **{"command-line": "commit d"})
    both.io("d", "read -P 1 0 64k")
    both.execute("query-blockstats")
    both.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_a_stream_of_an_image_that_is_only_read_holds_its_chain(
    tmp_path: Path, read_only: bool
) -> None:
    """C2: test 030."""
    chain = ["base", "low", "mid", "high", "top"]
    images: dict[str, tuple[str, ...]] = {"base": QCOW2}
    for lower, name in itertools.pairwise(chain):
        images[name] = ("-f", "qcow2", "-b", lower, "-F", "qcow2", "1M")
    both = start(tmp_path, images=images)
    below: str | None = None
    for name in chain:
        both.add(
            "qcow2",
            name,
            file={"driver": "file", "filename": name},
            backing=below,
            read_only=read_only and name == "high",
        )
        below = name
    both.io("mid", "write -P 1 0 64k")
    commit = {"job-id": "c", "filter-node-name": "filter", "auto-finalize": False}
    _answer(
        both, "block-commit", device="top", **commit, **{"top-node": "mid", "base-node": "base"}
    )
    for base in ("mid", "filter", "low"):
        stream = {"job-id": "s", "base-node": base, "auto-finalize": False}
        _answer(both, "block-stream", device="high", **stream)
    both.close()


def _answer(both: Files, command: str, **arguments: Any) -> None:
    """As `Files.execute`, but events come when they like."""
    request = {"execute": command, "arguments": arguments}
    real, ours = (program.execute(request)[-1] for program in (both.real, both.ours))
    assert ours == real, request


def test_blockstats_of_a_chain_leaves_out_implicit_filters(tmp_path: Path) -> None:
    """Q2: test 040."""
    images = CHAIN | {"top": ("-f", "qcow2", "-b", "mid", "-F", "qcow2", "1M")}
    options = ("-drive", "if=none,id=d,node-name=n,file=top,format=qcow2")
    both = start(tmp_path, *options, images=images)
    both.io("d", "write -P 1 0 1M")
    arguments: dict[str, Any] = {"device": "d", "job-id": "j", "auto-finalize": False}
    both.execute("block-commit", **arguments, top="mid", base="base")
    both.execute("query-blockstats")
    both.execute("query-blockstats", **{"query-nodes": True})
    both.close()


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("by_node", [False, True])
def test_export_of_the_enabled_bitmap_of_another_node(
    tmp_path: Path, writable: bool, by_node: bool
) -> None:
    """V: test 223."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.execute("block-dirty-bitmap-add", node="n", name="b")
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    bitmap = {"node": "n", "name": "b"} if by_node else "b"
    options = {"type": "nbd", "id": "e", "node-name": "n", "writable": writable}
    both.execute("block-export-add", **options, bitmaps=[bitmap])
    both.look()
    both.close()


@pytest.mark.parametrize("length", [79, 80, 81, 200, 4096])
def test_nbd_shows_the_start_of_a_long_name(tmp_path: Path, length: int) -> None:
    """X: test 143."""
    both = start(tmp_path)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    said = [_ask(tmp_path / side / "s", b"n" * length) for side in ("real", "ours")]
    assert said[1] == said[0]
    both.close()


def _ask(path: Path, name: bytes) -> bytes:
    """What an NBD server says to NBD_OPT_GO of an export that there is not."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(bytes(3) + b"\x01")
        body = len(name).to_bytes(4, "big") + name + bytes(2)
        head = b"IHAVEOPT" + (7).to_bytes(4, "big") + len(body).to_bytes(4, "big")
        client.sendall(head + body)
        client.sendall(b"IHAVEOPT" + (2).to_bytes(4, "big") + bytes(4))  # abort
        data = b""
        while more := client.recv(65536):
            data += more
        return data


@pytest.mark.parametrize("size", [512, 1024, 4096, 1 << 20])
def test_a_raw_file_that_grows_from_nothing_has_a_first_block(tmp_path: Path, size: int) -> None:
    """Y: test 175."""
    both = start(tmp_path)
    both.make("empty", 0)
    both.add("file", "f", filename="empty")
    both.execute("block_resize", **{"node-name": "f", "size": size})
    for preallocation in ("off", "falloc", "full"):
        options = {"driver": "file", "filename": f"new-{preallocation}", "size": size}
        arguments = {"job-id": "j", "options": {**options, "preallocation": preallocation}}
        for program in (both.real, both.ours):
            program.execute({"execute": "blockdev-create", "arguments": arguments})
            while program.message().get("data", {}).get("status") != "concluded":
                pass
            program.execute({"execute": "job-dismiss", "arguments": {"id": "j"}})
    both.close()
    for name in ("empty", "new-off", "new-falloc", "new-full"):
        blocks = [(tmp_path / side / name).stat().st_blocks for side in ("real", "ours")]
        assert blocks[1] == blocks[0], name


NBD = {"addr": {"type": "unix", "data": {"path": "s"}}}
VHOST = {"type": "vhost-user-blk", "id": "e", "node-name": "n"}
ADDRESS = {"type": "unix", "path": "s"}


@pytest.mark.parametrize(
    ("command", "arguments", "then"),
    [
        ("nbd-server-start", NBD, None),
        ("nbd-server-start", NBD, ("nbd-server-stop", {})),
        ("block-export-add", {**VHOST, "addr": ADDRESS}, None),
        ("block-export-add", {**VHOST, "addr": ADDRESS}, ("block-export-del", {"id": "e"})),
    ],
)
@pytest.mark.parametrize("end", ["quit", "signal"])
def test_socket_files_at_the_end(
    tmp_path: Path,
    command: str,
    arguments: dict[str, Any],
    then: tuple[str, dict[str, Any]] | None,
    end: str,
) -> None:
    """H: test 205."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.execute(command, **arguments)
    if then is not None:
        both.execute(then[0], **then[1])
    there = []
    for side, program in (("real", both.real), ("ours", both.ours)):
        if end == "quit":
            program.send(b'{"execute": "quit"}')
        else:
            program.process.terminate()
        program.process.wait(20)
        there.append((tmp_path / side / "s").exists())
    assert there[1] == there[0]


@pytest.mark.parametrize("flags", ["", "-v ", "-n ", "-n -v "])
def test_info_block_of_a_node(tmp_path: Path, flags: str) -> None:
    """AD: test 142."""
    both = start(tmp_path, "-drive", "if=none,id=d,driver=null-co,node-name=in-d")
    both.add("null-co", "n", size=1 << 20)
    both.add("raw", "m", file="n")
    for name in ("d", "in-d", "n", "m", "none", ""):
        both.execute("human-monitor-command", **{"command-line": f"info block {flags}{name}"})
    both.close()


@pytest.mark.parametrize("size", [(1 << 63) - 1, 1 << 63, (1 << 63) + 512, (1 << 64) - 512])
@pytest.mark.parametrize("driver", ["qcow2", "raw", "file"])
def test_create_with_a_size_beyond_all_bounds(tmp_path: Path, size: int, driver: str) -> None:
    """AG: test 206; sizes are signed."""
    both = start(tmp_path)
    both.make("empty", 0)
    both.add("file", "f", filename="empty")
    place = {"filename": "new"} if driver == "file" else {"file": "f"}
    options = {"driver": driver, "size": size, **place}
    ended = []
    for program in (both.real, both.ours):
        arguments = {"job-id": "j", "options": options}
        (answer,) = program.execute({"execute": "blockdev-create", "arguments": arguments})[-1:]
        while "return" in answer and program.message()["data"].get("status") != "concluded":
            pass
        ended.append((answer, program.execute({"execute": "query-jobs"})[-1]))
    assert ended[1] == ended[0]
    both.close()


@pytest.mark.parametrize("config", ["/dev/null", "nowhere", ".", "/dev/zero/x"])
def test_blkdebug_reads_any_file(tmp_path: Path, config: str) -> None:
    """AH: test 245."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.add("blkdebug", "b", image="n", config=config)
    both.look()
    both.close()


@pytest.mark.parametrize("check", [False, True])
def test_the_cache_of_a_file_is_dropped(tmp_path: Path, check: bool) -> None:
    """AH: test 245."""
    both = start(tmp_path)
    both.make("f", 1 << 20, b"x" * 100_000)
    file = {"driver": "file", "node-name": "n", "filename": "f"}
    options = [
        {"x-check-cache-dropped": check},
        {"x-check-cache-dropped": True, "drop-cache": False},
        {"drop-cache": False},
        {},
        {"x-check-cache-dropped": True},
        {"x-check-cache-dropped": check, "drop-cache": True},
        {"x-check-cache-dropped": not check, "drop-cache": True},
    ]
    both.execute("blockdev-add", **file, **options[0])
    for given in options:
        both.execute("blockdev-reopen", options=[file | given])
        both.io("n", "read 0 64k")
        # Whether the host has dropped all of it is a matter of chance.
        if not given.get("x-check-cache-dropped"):
            both.execute("blockdev-set-active", **{"node-name": "n", "active": False})
            both.execute("blockdev-set-active", **{"node-name": "n", "active": True})
    both.close()


def test_cont_takes_all_images_back(tmp_path: Path) -> None:
    """Z: test inactive-node-nbd."""
    both = start(tmp_path, "-S")
    both.add("null-co", "n", size=1 << 20, active=False)
    both.add("raw", "m", file="n", active=False)
    both.look()
    both.execute("cont")
    both.look()
    both.execute("blockdev-set-active", **{"node-name": "m", "active": False})
    both.execute("cont")
    both.look()
    both.close()


@pytest.mark.parametrize("read_only", [True, False])
def test_an_image_that_is_found_corrupt_is_no_matter_of_the_monitor(
    tmp_path: Path, read_only: bool
) -> None:
    """AC: test 060."""
    both = start(tmp_path, images={"i": QCOW2})
    for side in ("real", "ours"):
        with (tmp_path / side / "i").open("r+b") as image:
            image.seek(0x30000)
            image.write((0x2A2A2A00 | 1 << 63).to_bytes(8, "big"))
    both.add("qcow2", "n", file={"driver": "file", "filename": "i"}, read_only=read_only)
    both.io("n", "read 0 512")
    both.io("n", "read 0 512")
    real, ours = both.real.stderr(), both.ours.stderr()
    assert ours == real
    assert ours.startswith("qcow2: ")
    both.close()


def test_cont_forgets_the_errors_of_jobs(tmp_path: Path) -> None:
    both = start(tmp_path)
    both.make("f", 1 << 20)
    rules = [{"event": "none", "iotype": "write", "errno": 28}]
    image = {"driver": "file", "filename": "f"}
    both.add("null-co", "n", size=1 << 20)
    both.add("blkdebug", "b", image=image, inject_error=rules)
    job = {"job-id": "j", "device": "n", "target": "b", "sync": "full"}
    for program in (both.real, both.ours):
        arguments = {**job, "on-target-error": "enospc"}
        seen = program.execute({"execute": "blockdev-backup", "arguments": arguments})
        while not any(message.get("event") == "BLOCK_JOB_ERROR" for message in seen):
            seen.append(program.message())
        program.execute({"execute": "query-status"})
    for command in ("query-block-jobs", "stop", "cont", "query-block-jobs", "query-jobs"):
        answers = [program.execute({"execute": command})[-1] for program in (both.real, both.ours)]
        assert answers[1] == answers[0], command
    both.close()


@pytest.mark.parametrize("structured", [False, True])
def test_nbd_serves_only_reads_of_inactive_nodes(tmp_path: Path, structured: bool) -> None:
    """Z: test inactive-node-nbd."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20, read_zeroes=True)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    options = {"type": "nbd", "id": "n", "node-name": "n", "writable": True}
    both.execute("block-export-add", **options, **{"allow-inactive": True})
    both.execute("blockdev-set-active", **{"node-name": "n", "active": False})
    said = [_all_requests(tmp_path / side / "s", structured) for side in ("real", "ours")]
    assert said[1] == said[0]
    both.close()


def _all_requests(path: Path, structured: bool) -> bytes:
    """What an NBD server says to a request of each kind, and after them to a disconnection."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(bytes(3) + b"\x01")
        if structured:
            client.sendall(_option(8, b""))
            query = b"\0\0\0\x01n" + (1).to_bytes(4, "big")
            client.sendall(_option(10, query + b"\0\0\0\x0fbase:allocation"))
        client.sendall(_option(7, b"\0\0\0\x01n" + bytes(2)))
        kinds = [0, 1, 3, 4, 5, 6] + ([7] if structured else [])
        for kind in kinds:
            length = 0 if kind == 3 else 512
            head = 0x25609513.to_bytes(4, "big") + kind.to_bytes(4, "big")
            request = head + kind.to_bytes(8, "big") + bytes(8) + length.to_bytes(4, "big")
            client.sendall(request + (bytes(512) if kind == 1 else b""))
        client.sendall(0x25609513.to_bytes(4, "big") + (2).to_bytes(4, "big") + bytes(20))
        data = b""
        while more := client.recv(65536):
            data += more
        return data


def _option(number: int, body: bytes) -> bytes:
    return b"IHAVEOPT" + number.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("how", ["eject", "drive_del", "medium", "node"])
def test_an_export_of_a_drive_goes_with_its_medium(tmp_path: Path, how: str) -> None:
    """W: test 140; exports made by nbd-server-add only."""
    drive = "if=none,media=cdrom,id=d,driver=null-co,node-name=n,read-only=on"
    both = start(tmp_path, "-drive", drive)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})
    both.execute("nbd-server-add", device="n" if how == "node" else "d", name="e")
    export = {"type": "nbd", "id": "f", "node-name": "n"}
    if how == "medium":
        both.execute("nbd-server-remove", name="e")
        both.execute("nbd-server-add", device="d", name="e")
    else:
        both.execute("block-export-add", **export)
    both.execute("query-block-exports")
    if how == "drive_del":
        both.execute("human-monitor-command", **{"command-line": "drive_del d"})
    else:
        both.execute("eject", device="d")
    both.execute("query-block-exports")
    both.execute("nbd-server-stop")
    both.close()


@pytest.mark.parametrize("program", ["qemu-system-x86_64", "qemu-storage-daemon"])
def test_all_that_was_sent_is_answered_before_the_end(tmp_path: Path, program: str) -> None:
    """K and AF: tests qsd-jobs and 071; a pipe ends while a request waits."""
    options = {
        "qemu-system-x86_64": (*OPTIONS, "-nodefaults"),
        "qemu-storage-daemon": ("--chardev", "stdio,id=s", "--monitor", "s"),
    }
    rules = [{"event": "none", "iotype": "flush", "errno": 5}]
    file = {"driver": "file", "filename": "i"}
    image = {"driver": "blkdebug", "image": file, "inject-error": rules}
    requests = [
        {"execute": "qmp_capabilities"},
        {
            "execute": "blockdev-add",
            "arguments": {"driver": "qcow2", "node-name": "n", "file": image},
        },
        {
            "execute": "block-dirty-bitmap-add",
            "arguments": {"node": "n", "name": "b", "persistent": True},
        },
        {"execute": "block_resize", "arguments": {"node-name": "n", "size": 1 << 21}},
        {"execute": "query-block-jobs"},
        {"execute": "quit"},
    ]
    ends = []
    for side, argv in (("real", [program]), ("ours", qmpd_argv([program]))):
        folder = tmp_path / side
        folder.mkdir()
        make = ["qemu-img", "create", "-q", "-f", "qcow2", "i", "1M"]
        subprocess.run(make, cwd=folder, check=True)
        done = subprocess.run(
            [*argv, *options[program]],
            cwd=folder,
            input="".join(json.dumps(request) + "\n" for request in requests),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        lines = done.stdout.splitlines()[1:]
        shown = [re.sub(r"^[^ {]+: |\"timestamp\": {[^}]*}", "", line) for line in lines]
        ends.append((done.returncode, shown))
    assert ends[1] == ends[0]
    assert '{"return": {}}' in ends[0][1][-1]


@pytest.mark.parametrize("when", ["-object", "object-add"])
def test_groups_made_before_the_accelerator_follow_real_time(tmp_path: Path, when: str) -> None:
    """S: test stream-error-on-reset; Debian's QEMU has no qtest to compare with."""
    argv = qmpd_argv(["qemu-system-x86_64", *OPTIONS[:-2], "-accel", "qtest", "-qmp", "stdio"])
    if when == "-object":
        argv += ["-object", "throttle-group,id=g,x-bps-read=65536"]
    program = StdioProgram(argv, tmp_path)
    program.message()
    program.execute({"execute": "qmp_capabilities"})

    def execute(command: str, **arguments: Any) -> Any:
        return program.execute({"execute": command, "arguments": arguments})[-1]

    if when == "object-add":
        execute("object-add", **{"qom-type": "throttle-group", "id": "g"})
        limits = {"bps-read": 65536}
        execute("qom-set", path="/objects/g", property="limits", value=limits)
    execute("blockdev-add", **{"driver": "null-co", "node-name": "n"})
    throttle = {"driver": "throttle", "throttle-group": "g", "file": "n", "node-name": "t"}
    assert execute("blockdev-add", **throttle) == {"return": {}}
    read = {"command-line": 'qemu-io t "read 0 16k"'}
    assert execute("human-monitor-command", **read) == {"return": ""}
    again = json.dumps({"execute": "human-monitor-command", "arguments": read}).encode()
    program.send(again)
    if when == "-object":
        assert program.message(20) == {"return": ""}
    else:
        # nobody steps the clock that it waits for
        with pytest.raises(TimeoutError):
            program.message(1)
        program.process.kill()
    program.close()


@pytest.mark.parametrize("other", [None, "export", "raw"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_child_of_a_quorum_with_another_parent_is_not_replaced(
    tmp_path: Path, other: str | None, when: str
) -> None:
    """R1: test 041."""
    both = start(tmp_path)
    children = [f"c{number}" for number in range(3)]
    for name in [*children, "t"]:
        both.add("null-co", name, size=1 << 20)
    both.add("quorum", "q", children=children, vote_threshold=2)
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": "s"}})

    def use() -> None:
        if other == "export":
            both.execute("block-export-add", **{"type": "nbd", "id": "e", "node-name": "c1"})
        elif other == "raw":
            both.add("raw", "r", file="c1")

    if when == "before":
        use()
    job = {"job-id": "j", "device": "q", "target": "t", "sync": "full", "replaces": "c1"}
    answers = []
    for program in (both.real, both.ours):
        seen = program.execute({"execute": "blockdev-mirror", "arguments": job})
        answers.append(seen[-1])
        while "error" not in answers[-1] and not any(
            message.get("event") == "BLOCK_JOB_READY" for message in seen
        ):
            seen.append(program.message())
    assert answers[1] == answers[0]
    if "error" not in answers[0]:
        if when == "after":
            for program in (both.real, both.ours):
                program.execute({"execute": "query-jobs"})
            use()
        ends = []
        for program in (both.real, both.ours):
            seen = program.execute({"execute": "job-complete", "arguments": {"id": "j"}})
            while not any(m.get("data", {}).get("status") == "null" for m in seen):
                seen.append(program.message())
            ends.append([m["data"] for m in seen if m.get("event") == "BLOCK_JOB_COMPLETED"])
        assert ends[1] == ends[0]
    both.execute("x-debug-query-block-graph")
    both.close()


@pytest.mark.parametrize("command", ["blockdev-mirror", "blockdev-backup"])
def test_a_job_does_not_write_to_an_inactive_target(tmp_path: Path, command: str) -> None:
    """Z: test inactive-node-nbd."""
    both = start(tmp_path)
    both.add("null-co", "n", size=1 << 20)
    both.add("null-co", "t", size=1 << 20, active=False)
    both.execute(command, **{"job-id": "j", "device": "n", "target": "t", "sync": "full"})
    both.look()
    both.close()
