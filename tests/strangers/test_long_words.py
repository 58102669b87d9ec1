"""Numbers of thousands of digits, names that are none, paths with a character 0."""

from __future__ import annotations

import itertools
import struct
import subprocess
from pathlib import Path

import pytest

from tests.block.files import Files
from tests.strangers.world import SIDES, make_images, start
from tests.support.programs import qemu_missing, qmpd_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

MANY = "9" * 5000
BLKDEBUG = "if=none,driver=blkdebug,image.driver=null-co"
DRIVE = ("-drive", "if=none,id=d,driver=null-co,size=1048576")

LINES = [
    'qemu-io d "read -P {} 0 1"',
    'qemu-io d "read {} 1"',
    'qemu-io d "write -P 1 0 {}"',
    'qemu-io d "sleep {}"',
    "block_set_io_throttle d {} 0 0 0 0 0",
    "block_resize d {}",
]

IDS = ["1844674407370955161" + last for last in "456"]
IDS += [MANY, f"-{MANY}", "-1", "-5", "+7", "12abc", " 12", "12 ", "abc", "- 5", "0x10", "010"]


@pytest.fixture
def both(tmp_path: Path) -> Files:
    return start(tmp_path, *DRIVE)


def test_numbers_of_the_human_monitor(both: Files) -> None:
    for line in LINES:
        both.execute("human-monitor-command", **{"command-line": line.format(MANY)})
    both.execute("query-status")
    both.close()


def test_names_without_letters(both: Files) -> None:
    both.execute("query-status", **{"": 1})
    both.execute("blockdev-add", driver="null-co", **{"node-name": "n", "": 1})
    both.execute("blockdev-add", driver="null-co", **{"node-name": ""})
    both.execute("blockdev-change-medium", id="", filename="x")
    both.execute("blockdev-change-medium", device="", filename="x")
    both.execute("nbd-server-add", device="")
    both.execute("nbd-server-add", device="d")
    both.execute("block-dirty-bitmap-add", node="d", name="")
    both.execute("query-block")
    both.close()


@pytest.mark.parametrize("host", ["a" * 64, "a..b", ".", "a\0b"])
def test_hosts_that_no_resolver_takes(both: Files, host: str) -> None:
    address = {"type": "inet", "data": {"host": host, "port": "1"}}
    both.execute("nbd-server-start", addr=address)
    both.close()


def test_ports_that_are_none(both: Files) -> None:
    none = {"type": "inet", "data": {"host": "127.0.0.1", "port": "1"}}
    places = itertools.product(("127.0.0.1", "", "a\0b"), ("1\0", "\0", "0\0x", "nope"))
    for host, port in places:
        address = {"type": "inet", "data": {"host": host, "port": port}}
        both.execute("nbd-server-start", addr=address)
        both.execute("nbd-server-stop")
        for kind, data in (
            ("socket", {"addr": address}),
            ("socket", {"addr": address, "server": False}),
            ("udp", {"remote": address}),
            ("udp", {"remote": none, "local": address}),
        ):
            both.execute("chardev-add", id="c", backend={"type": kind, "data": data})
        server = {"type": "inet", "host": host, "port": port}
        both.execute("blockdev-add", driver="nbd", server=server, **{"node-name": "n"})
    both.close()


@pytest.mark.parametrize("path", ["a\0b", "\0"])
def test_paths_with_a_character_0(both: Files, path: str) -> None:
    both.execute("nbd-server-start", addr={"type": "unix", "data": {"path": path}})
    both.execute("nbd-server-stop")
    both.execute("blockdev-add", driver="file", **{"node-name": "f", "filename": f"/nope/{path}"})
    both.close()


@pytest.mark.parametrize(
    "options",
    [
        ("-smp", MANY),
        ("-smp", "300"),
        ("-smp", "1,maxcpus=300"),
        ("-smp", "9999999999999"),
        ("-M", "q35", "-smp", "5000"),
        ("-M", "none", "-smp", "2"),
        ("-m", MANY),
        ("-boot", f"splash-time={MANY}"),
        ("-device", f"virtio-blk-pci,num-queues={MANY}"),
        ("-drive", f"{BLKDEBUG},take-child-perms.{MANY}=write"),
        ("-drive", f"{BLKDEBUG},take-child-perms.0=write,take-child-perms.{MANY}=write"),
        ("-drive", f"{BLKDEBUG},inject-error.{MANY}.event=read_aio"),
        ("-drive", f"if=none,driver=quorum,vote-threshold=1,children.{MANY}.driver=null-co"),
    ],
)
def test_numbers_of_options(options: tuple[str, ...]) -> None:
    said = []
    for argv in (["qemu-system-x86_64"], qmpd_argv(["qemu-system-x86_64"])):
        program = [*argv, "-display", "none", *options]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
        said.append((done.returncode, done.stdout, done.stderr.partition(": ")[2]))
    assert said[0] == said[1]


@pytest.mark.parametrize("known", IDS)
def test_ids_of_snapshots(tmp_path: Path, known: str) -> None:
    make_images(tmp_path, {"x.qcow2": ("-f", "qcow2", "1M")})
    for side in SIDES:
        path = tmp_path / side / "x.qcow2"
        subprocess.run(["qemu-img", "snapshot", "-c", "n", path], check=True)
        data = bytearray(path.read_bytes())
        (table,) = struct.unpack_from(">Q", data, 64)
        (extra,) = struct.unpack_from(">I", data, table + 36)
        struct.pack_into(">HH", data, table + 12, len(known), 1)
        text = known.encode() + b"n"
        place = table + 40 + extra
        data[place : place + len(text)] = text
        path.write_bytes(data)
    drive = ("-drive", "if=none,id=d,file=x.qcow2,format=qcow2")
    both = Files(tmp_path, *drive)
    both.execute("blockdev-snapshot-internal-sync", device="d", name="new")
    both.execute("blockdev-snapshot-delete-internal-sync", device="d", name="new")
    both.close()
