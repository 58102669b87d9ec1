"""HMP commands of the block layer, on qmpd and on the real QEMU side by side."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.monitor.hmp.expression import Expression, ExpressionError
from tests.drivers.pair import SIDES, Drivers
from tests.support.normal import normal
from tests.support.programs import qemu_missing

DRIVES = [
    "if=none,id=d,file=d.qcow2,format=qcow2",
    "if=none,id=q,file=q.qcow2,format=qcow2",
    "if=none,id=em",
    "if=none,id=em2",
    "if=none,id=j,file=j.raw,format=raw",
    "if=none,id=cd,media=cdrom",
]
JOB_EVENTS = "JOB_STATUS_CHANGE BLOCK_JOB_READY BLOCK_JOB_COMPLETED BLOCK_JOB_CANCELLED"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Machines]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    for side in SIDES:
        folder = tmp_path / side
        folder.mkdir()
        for name, size in (("d", "4M"), ("q", "4M"), ("o", "1M"), ("s3", "4M")):
            command = ["qemu-img", "create", "-q", "-f", "qcow2", f"{name}.qcow2", size]
            subprocess.run(command, cwd=folder, check=True)
        for name in ("b", "j"):
            (folder / f"{name}.raw").write_bytes(bytes(1 << 20))
    options = ["-machine", "pc", "-S", *(word for drive in DRIVES for word in ("-drive", drive))]
    options += ["-device", "ide-cd,drive=cd,id=cd0", "-blockdev", "null-co,node-name=n"]
    pair = Machines(tmp_path, *options)
    pair.apart = frozenset(JOB_EVENTS.split())
    yield pair
    pair.close()


class Machines(Drivers):
    """The programs with a PC as their machine."""

    def lines(self, text: str) -> None:
        """Run the lines of `text`."""
        for line in text.strip().splitlines():
            self.execute("human-monitor-command", **{"command-line": line.strip()})

    def wait(self, event: str) -> None:
        """Wait for an event of a job on both sides; they must tell the same."""
        told = []
        for side in SIDES:
            events: list[Any] = self.events[side]
            while not any(dict(found)["event"] == event for found in events):
                line = self._program(side).line().decode()
                if line.startswith("{"):
                    events.append(normal(json.loads(line), str(self.scratch / side)))
            kept = [found for found in events if dict(found)["event"].startswith("BLOCK_JOB")]
            told.append(kept)
            events.clear()
        assert told[1] == told[0]


def test_limits_and_numbers(pair: Machines) -> None:
    pair.lines("""
        block_set_io_throttle d 1 0 0 4 0 0
        info block d
        block_set_io_throttle d 1 2 3 4 5 6
        block_set_io_throttle d
        block_set_io_throttle d x
        block_set_io_throttle d 1+1 0 0 0 0 0
        block_set_io_throttle d 8*(2+3)%7 0 0 0x10 0 0
        block_set_io_throttle d 010 0 0 7&3|8^1 0 0
        info block d
        block_set_io_throttle d 1 -1 0 0 0 0
        block_set_io_throttle d 5/0 0 0 0 0 0
        block_set_io_throttle d -7/2+4 0 0 0 0 0
        block_set_io_throttle d (1 0 0 0 0 0
        block_set_io_throttle d $x 0 0 0 0 0
        block_set_io_throttle d 18446744073709551616 0 0 0 0 0
        block_set_io_throttle d 09 0 0 0 0 0
        block_set_io_throttle nope 0 0 0 0 0 0
        block_set_io_throttle cd 0 0 0 0 0 0
        block_set_io_throttle cd0 1 0 0 0 0 0
        block_set_io_throttle d 0 0 0 0 0 0 0
        block_set_io_throttle d 0 0 0 0 0 0
        info block d
    """)


def test_media(pair: Machines) -> None:
    pair.lines("""
        eject
        eject d
        eject nope
        eject -x em
        eject -f em
        eject cd
        eject -f cd
        change
        change cd
        change cd nosuch
        change cd b.raw
        change cd b.raw raw
        change cd b.raw raw read-only
        change cd b.raw raw bad
        change -f cd b.raw raw read-write
        change cd -f b.raw raw retain
        change cd o.qcow2 qcow2
        change d b.raw
        change nope b.raw
        info block
        block_resize d 8M
        block_resize cd 8M
        block_resize d
        block_resize nope 1
    """)


def test_snapshots(pair: Machines) -> None:
    pair.lines("""
        snapshot_blkdev
        snapshot_blkdev d
        snapshot_blkdev -n d
        snapshot_blkdev nope s.qcow2
        snapshot_blkdev d s.qcow2 qcow2
        snapshot_blkdev d s2.qcow2 nope
        snapshot_blkdev -n d s3.qcow2 qcow2
        snapshot_blkdev d s4.qcow2
        info block d
        snapshot_blkdev_internal d
        snapshot_blkdev_internal d s0
        snapshot_blkdev_internal d s0
        snapshot_blkdev_internal nope s0
        snapshot_delete_blkdev_internal d
        snapshot_delete_blkdev_internal d s1
        snapshot_delete_blkdev_internal d s0 7
        snapshot_delete_blkdev_internal d s0
    """)


def test_jobs(pair: Machines) -> None:
    pair.lines("""
        snapshot_blkdev q s.qcow2 qcow2
        snapshot_blkdev -n q s3.qcow2 qcow2
        snapshot_blkdev q s4.qcow2 qcow2
        drive_mirror
        drive_mirror d
        drive_mirror -x d t
        drive_mirror nope m.raw
        drive_mirror -n -f d nosuch raw
        drive_mirror -f d m.raw raw
    """)
    pair.wait("BLOCK_JOB_READY")
    pair.lines("""
        info block-jobs
        block_job_set_speed d
        block_job_set_speed d x
        block_job_set_speed d 1.5k
        block_job_pause d
        block_job_cancel d
        block_job_cancel -x d
        block_job_cancel -f d
    """)
    pair.wait("BLOCK_JOB_CANCELLED")
    pair.lines("drive_mirror -n d m.raw raw")
    pair.wait("BLOCK_JOB_READY")
    pair.lines("block_job_complete d")
    pair.wait("BLOCK_JOB_COMPLETED")
    # The image that backs this target is named by its options.
    for line in ("q k.qcow2 qcow2", "-f q t.raw raw", "-f -c q c.qcow2 qcow2"):
        pair.lines(f"drive_backup {line}")
        pair.wait("BLOCK_JOB_COMPLETED")
    pair.lines("""
        drive_backup
        drive_backup d
        drive_backup -n d k9.qcow2
        block_stream
        block_stream nope
        block_stream d x
        block_stream q 1M nosuch
        block_stream q
    """)
    pair.wait("BLOCK_JOB_COMPLETED")
    pair.lines("info block-jobs")


def test_plugging(pair: Machines) -> None:
    pair.lines("""
        device_add
        device_add nope
        device_add nope,id=x
        device_add virtio-blk-pci
        device_add virtio-blk-pci,drive=em2,id=v
        device_add virtio-blk-pci,drive=q,id=v,werror=stop
        device_add virtio-blk-pci,drive=q,id=v
        device_add virtio-blk-pci,drive=q,id=9
        device_add driver=scsi-hd,drive=q
        device_add scsi-hd,foo
        device_add virtio-blk-pci,drive=j,id=w,bar=3
        device_add virtio-blk-pci,drive=j,id=w,serial=a,,bc
        device_add id=w
        device_add ide-hd,bus=nope
        device_add ide-hd,bus=nope,share-rw
        device_add virtio-scsi-pci,id=s1,id=s2,noioeventfd
        device_add virtio-scsi-pci,id=s1
        device_del
        device_del nope
        info block
        drive_del
        drive_del nope
        drive_del j
        drive_del n
        drive_del n
        drive_del em
        drive_del d
        drive_del cd
        drive_del q
        info block
        qemu-io -d v "write 0 512"
        info status
    """)
    pair.look()


COMMITTED = [
    "if=none,id=o,file=over.qcow2,format=qcow2",
    "if=none,id=ro,file=ro.qcow2,format=qcow2,read-only=on",
    "if=none,id=sn,file=j.raw,format=raw,snapshot=on",
]


def test_commit(pair: Machines) -> None:
    """What an image holds goes into its backing file, which grows as needed."""
    for name, backing in (("over", "b.raw"), ("ro", "p.raw")):
        pair.make("p.raw", 1 << 20)
        pair.image("create", "-q", "-f", "qcow2", "-b", backing, "-F", "raw", f"{name}.qcow2", "2M")
    for drive in COMMITTED[:1]:
        pair.lines(f"drive_add 0 {drive}")
    pair.lines("""
        commit nope
        commit em
        commit j
        commit o
    """)
    pair.io("o", "write -P 5 64k 200k", "write -P 6 1536k 100", "write -z 512k 64k")
    pair.lines("commit o")
    pair.io("o", "map", "read -P 5 64k 200k", "read -P 6 1536k 100")
    pair.same_bytes("b.raw")
    pair.image("check", "-q", "-U", "over.qcow2")
    pair.execute("query-block")
    for drive in COMMITTED[1:]:
        pair.lines(f"drive_add 0 {drive}")
    pair.io("sn", "write -P 9 0 64k")
    pair.lines("""
        commit sn
        commit ro
        commit all
    """)
    pair.io("sn", "map")
    pair.execute("block-stream", device="o", speed=1, **{"job-id": "s"})
    pair.lines("""
        commit o
        commit all
    """)


def test_drives(pair: Machines) -> None:
    pair.lines("""
        drive_add
        drive_add 0
        drive_add 0 if=none,id=x,file=b.raw,format=raw
        drive_add 0 if=none,id=x,file=j.raw,format=raw
        drive_add dummy if=none,id=y,driver=null-co,size=1M,stats-intervals.0=3,iops=5
        drive_add 0 id=z,driver=null-co
        drive_add 0 if=ide,id=z,driver=null-co
        drive_add 0 if=virtio,driver=null-co,id=zz
        drive_add 0 if=none
        drive_add 0 if=none,file=nosuch
        drive_add 0 if=none,id=9
        drive_add 0 if=none,foo=bar,driver=null-co,id=k
        drive_add 0 if=none,id=k,werror=bad
        drive_add 0 if=none,id=k,index=1
        drive_add 0 if=none,id=k,driver=null-co,stats-intervals.0=x
        drive_add 0 if=none,id=n,driver=null-co
        drive_add 0 if=none,id=iops,driver=null-co,iops=5,iops_rd=3
        drive_add -n 0 driver=null-co,node-name=nn
        drive_add -n 0 driver=null-co
        drive_add -n 0 driver=null-co,node-name=nn
        drive_add -n 0 driver=qcow2,node-name=qq,file.driver=file,file.filename=o.qcow2
        drive_add -n 0 file=o.qcow2,node-name=q2
        info block
        info block -n
        device_add virtio-blk-pci,drive=y,id=v
        drive_del y
        drive_add 0 if=none,id=y,driver=null-co
        drive_del qq
        drive_del nn
        drive_del x
        drive_add 0 if=none,id=x,file=b.raw,format=raw
        drive_add 0 if=none,id=short,driver=null-co,read-zeroes,nodetect-zeroes
        drive_add 0 if=none,id=short,driver=null-co,read-zeroes
    """)
    pair.look()


def test_snapshot_option_is_for_the_drives_of_the_command_line(tmp_path: Path) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    for side in SIDES:
        (tmp_path / side).mkdir()
        (tmp_path / side / "b.raw").write_bytes(bytes(1 << 20))
    pair = Machines(tmp_path, "-machine", "pc", "-S", "-snapshot")
    try:
        pair.lines("drive_add 0 if=none,id=x,file=b.raw,format=raw")
        pair.execute("query-block")
    finally:
        pair.close()


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("1 2", 1, "2"),
        ("5 -1 3", 4, "3"),
        (" ~0 ", -1, ""),
        ("2+3*4", 14, ""),
        ("7&3+1", 4, ""),
        ("-7/2", -3, ""),
        ("-7%2", -1, ""),
        ("0x10)", 16, ")"),
        ("0779", 63, "9"),
        ("0xffffffffffffffff", -1, ""),
    ],
)
def test_expressions(text: str, value: int, rest: str) -> None:
    expression = Expression(text, 0)
    assert (expression.evaluate(), text[expression.position :]) == (value, rest)


@pytest.mark.parametrize("text", ["", "(1", "x", "1+", "$a", "1/0", "18446744073709551616"])
def test_no_expressions(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text, 0).evaluate()
