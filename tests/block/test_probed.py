"""Images whose format nobody named: what is found out, and how a guess of raw is guarded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from qmpd.block.change.probe import PROBE_SIZE, probe
from tests.drivers.pair import SIDES, Drivers
from tests.support.normal import normal
from tests.support.programs import QMPD_SYSTEM, qemu_missing

_BOCHS: Final = b"%b%b%b" % (
    b"Bochs Virtual HD Image".ljust(32, b"\0"),
    b"Redolog".ljust(16, b"\0"),
    b"Growing".ljust(16, b"\0"),
)
_CLOOP: Final = (
    b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"
)
HEADS: Final[dict[bytes, str]] = {
    b"hello": "raw",
    b"QFI\xfb\0\0\0\0": "raw",
    b"QFI\xfb\0\0\0\1": "qcow",
    b"QFI\xfb\0\0\0\2": "qcow2",
    b"QFI\xfb\1\0\0\0": "qcow2",
    b"QED\0": "qed",
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"# Disk DescriptorFile\nversion=1\n": "vmdk",
    b"# Disk DescriptorFile\nversion=4\n": "raw",
    b"# a\n#b\n  \nversion=3\r\n": "vmdk",
    b"# a\n\nversion=1\n": "raw",
    b" \r\nversion=1\n": "vmdk",
    b"#x\n x\nversion=1\n": "raw",
    b"#" * 500 + b"\nversion=1\n": "vmdk",
    b"#" * 505 + b"\nversion=1\n": "raw",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"LUKS\xba\xbe\0\1": "luks",
    b"LUKS\xba\xbe\0\2": "raw",
    bytes(64) + b"\x7f\x10\xda\xbe": "vdi",
    b"WithoutFreeSpace\2\0\0\0": "parallels",
    b"WithouFreSpacExt\2\0\0\0": "parallels",
    b"WithoutFreeSpace\3\0\0\0": "raw",
    _BOCHS + b"\0\0\1\0": "bochs",
    _BOCHS + b"\0\0\2\0": "bochs",
    _BOCHS + b"\0\0\3\0": "raw",
    _CLOOP: "cloop",
}

DRIVES: Final = [
    "if=none,id=d,file=a.raw",
    "if=none,id=named,file=b.raw,format=raw",
    "if=none,id=empty",
    'if=none,id=j,file=json:{"file":{"driver":"file",,"filename":"c.raw"}}',
    "if=none,id=window,file=d.raw,offset=512",
    "if=none,id=over,file=over.qcow2",
    "if=none,id=odd,file=odd.raw",
]


def _head(text: bytes) -> bytes:
    return text.ljust(PROBE_SIZE, b"\0")[:PROBE_SIZE]


@pytest.mark.parametrize(("text", "found"), HEADS.items())
def test_formats(text: bytes, found: str) -> None:
    assert probe(_head(text)) == found


def make_files(folder: Path) -> None:
    folder.mkdir()
    for name in ("a", "b", "c", "d", "base", "target", "t2", "t3"):
        (folder / f"{name}.raw").write_bytes(bytes(1 << 20))
    (folder / "odd.raw").write_bytes(bytes(1000))
    for number, text in enumerate(HEADS):
        (folder / f"head{number}").write_bytes(_head(text))
    command = "qemu-img create -q -f qcow2 -F raw -b base.raw over.qcow2 1M"
    subprocess.run(command.split(), cwd=folder, check=True)
    image = folder / "over.qcow2"
    # The extension that names the backing file's format becomes one nobody knows.
    image.write_bytes(image.read_bytes().replace(b"\xe2\x79\x2a\xca", b"\x12\x34\x56\x78"))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    for side in SIDES:
        make_files(tmp_path / side)
    return tmp_path


@pytest.fixture
def pair(folders: Path) -> Iterator[Drivers]:
    pair = Drivers(folders, *(word for drive in DRIVES for word in ("-drive", drive)))
    yield pair
    pair.close()


def test_first_sector(pair: Drivers) -> None:
    """No write may make the image look like one of another format; zeroes always may go."""
    for number in range(len(HEADS)):
        pair.io("d", f"write -s head{number} 0 512")
    pair.io("d", "write -s head3 0 1024", "write -s head3 512 512", "write -s head3 0 4")
    pair.io("d", *(f"write -P {byte} {at} 1" for at, byte in enumerate(b"QFI\xfb")))
    pair.io("d", "write -P 2 7 1", "write -P 251 3 1", "write -z 0 512", "read -v 0 64")
    pair.io("named", "write -s head3 0 512")
    pair.io("odd", "write -P 1 0 64k", "length", "write 600 200", "write -s head3 0 512")
    pair.io("window", "write -s head3 0 512", "length")
    pair.io("j", "write -s head3 0 512", "write -s head0 0 512")
    pair.look()
    pair.same_bytes("a.raw", "b.raw", "c.raw", "d.raw", "odd.raw")


def test_media_and_targets(pair: Drivers) -> None:
    pair.apart = frozenset(
        "JOB_STATUS_CHANGE BLOCK_JOB_READY BLOCK_JOB_COMPLETED BLOCK_JOB_ERROR".split()
    )
    for more in ({}, {"read-only-mode": "read-only"}, {"format": "raw"}):
        pair.execute("blockdev-change-medium", device="empty", filename="t3.raw", **more)
        pair.io("empty", "write -s head3 0 512", "write -z 0 512")
    for command, target in (("drive-mirror", "target.raw"), ("drive-backup", "t2.raw")):
        arguments = {"device": "named", "sync": "full", "mode": "existing", "job-id": "job"}
        pair.execute(command, target=target, **arguments)
        _end(pair, "BLOCK_JOB_READY" if command == "drive-mirror" else "BLOCK_JOB_COMPLETED")
        if command == "drive-mirror":
            pair.execute("block-job-complete", device="job")
            _end(pair, "BLOCK_JOB_COMPLETED")
            pair.io("named", "write -s head3 0 512", "write -s head0 0 512")
    pair.look()
    pair.same_bytes("target.raw", "t2.raw", "t3.raw")


def test_backing_file(pair: Drivers) -> None:
    pair.apart = frozenset(
        "JOB_STATUS_CHANGE BLOCK_JOB_READY BLOCK_JOB_COMPLETED BLOCK_JOB_ERROR".split()
    )
    pair.look()
    for head in ("head3", "head0"):
        pair.io("over", f"write -s {head} 0 512")
        pair.execute("block-commit", device="over", **{"job-id": "job"})
        _end(pair, "BLOCK_JOB_COMPLETED" if head == "head3" else "BLOCK_JOB_READY")
    pair.execute("block-job-complete", device="job")
    _end(pair, "BLOCK_JOB_COMPLETED")
    pair.io("over", "write -s head3 0 512", "write -s head0 0 512")
    pair.same_bytes("base.raw")


@pytest.mark.parametrize("command", ["drive-mirror", "drive-backup"])
def test_target_of_a_protocol(pair: Drivers, command: str) -> None:
    """What is to become a copy of a protocol node is one itself, if no format is named."""
    pair.apart = frozenset("JOB_STATUS_CHANGE BLOCK_JOB_READY BLOCK_JOB_COMPLETED".split())
    node = {"driver": "null-co", "node-name": "n", "size": 1 << 20}
    pair.execute("blockdev-add", **node)
    arguments = {"device": "n", "sync": "full", "mode": "existing", "job-id": "job", "speed": 1}
    arguments["auto-finalize"] = False
    for target in ("over.qcow2", "nope", "nope:x", "null-co://"):
        pair.execute(command, target=target, **arguments)
    pair.execute(command, target="t2.raw", **arguments)
    _copied(pair, "running" if command == "drive-mirror" else "pending")
    pair.look()
    pair.execute("human-monitor-command", **{"command-line": "drive_mirror -n n over.qcow2"})


def _copied(pair: Drivers, status: str) -> None:
    """Wait until the job has copied all on both sides, and stays in `status`."""
    for side in SIDES:
        program = pair._program(side)
        while True:
            [job] = program.execute({"execute": "query-block-jobs"})[-1]["return"]
            if job["offset"] == job["len"] and job["status"] == status:
                break


def _end(pair: Drivers, event: str) -> None:
    """Wait for an event on both sides, which must tell the same."""
    told = []
    for side in SIDES:
        events = pair.events[side]
        while not any(dict(found)["event"] == event for found in events):
            line = pair._program(side).line().decode()
            if line.startswith("{"):
                events.append(normal(json.loads(line), str(pair.scratch / side)))
        told.append([found for found in events if dict(found)["event"].startswith("BLOCK_JOB")])
        events.clear()
    assert told[1] == told[0]


def test_warnings(folders: Path) -> None:
    """Said of every guess of raw that may be written to."""
    argv = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    more = ["if=none,file=t2.raw,read-only=on", "if=none,file=t3.raw,snapshot=on"]
    for drive in (*DRIVES, *more):
        argv += ["-drive", drive]
    medium = b'{"execute": "blockdev-change-medium", "arguments": {"device": "empty", "filename": '
    lines = [b'{"execute": "qmp_capabilities"}', medium + b'"t2.raw"}}', b'{"execute": "quit"}']
    said = [
        subprocess.run(
            [*program, *argv],
            input=b"\n".join(lines),
            capture_output=True,
            timeout=20,
            cwd=folders / side,
            check=True,
        ).stderr
        for side, program in (("real", ["qemu-system-x86_64"]), ("ours", QMPD_SYSTEM))
    ]
    assert said[0].count(b"WARNING") == 5
    assert said[1] == said[0]
