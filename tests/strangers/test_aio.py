"""HMP qemu-io's requests that nobody waits for (E: tests 151, 255, 093, 136)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import qmpd
from tests.block.files import Files
from tests.strangers.world import start
from tests.support.programs import qemu_missing

differs = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Files]:
    drive = "if=none,id=d,driver=qcow2,file.driver=blkdebug,file.image.filename=t.qcow2"
    options = ("-drive", f"{drive},file.image.driver=file")
    pair = start(tmp_path, *options, images={"t.qcow2": ("-f", "qcow2", "1M")})
    yield pair
    pair.close()


@differs
def test_with_a_breakpoint(both: Files) -> None:
    for command in (
        "aio_write -P 1 0 64k",
        "aio_flush",
        "break write_aio A",
        "aio_write -P 2 0 64k",
        "wait_break A",
        "read -P 1 0 64k",
        "resume A",
        "aio_flush",
        "read -P 2 0 64k",
        "aio_read -P 2 0 64k",
        "aio_flush",
        "aio_read 2M 512",
        "aio_write 2M 512",
        "aio_flush",
    ):
        both.io("d", command)


@differs
@pytest.mark.parametrize(
    "command",
    [
        "aio_read 0 512 512",
        "aio_read 0 1k x",
        "aio_read x 1k",
        "aio_read -i 0 512",
        "aio_read 2M 512",
        "aio_write 0 512",
        "aio_write -z 0 64k",
        "aio_write -z -P 1 0 64k",
        "aio_write -z -r 0 64k",
        "aio_write -z 0 64k 64k",
        "aio_write -u 0 64k",
        "aio_write -f -q 0 64k",
        "aio_write 0 x",
        "aio_write 0 3G",
        "aio_write 2M 512",
        "aio_flush",
    ],
)
def test_what_is_counted(both: Files, command: str) -> None:
    both.io("d", command)
    for program in (both.real, both.ours):
        # until the request has ended: all are waited for
        program.execute({"execute": "stop"})
    stats = [
        program.execute({"execute": "query-blockstats"})[-1]["return"][0]["stats"]
        for program in (both.real, both.ours)
    ]
    for each in stats:
        for name in [name for name in each if name.endswith("_time_ns")]:
            each[name] = each[name] > 0
    assert stats[1] == stats[0]


@differs
def test_on_a_node_the_answer_waits(both: Files) -> None:
    """The backend made for the time being is drained before it goes."""
    both.make("raw", 1 << 20)
    both.add("file", "f", filename="raw")
    both.execute(
        "object-add", **{"qom-type": "throttle-group", "id": "g", "limits": {"bps-total": 65536}}
    )
    both.add("throttle", "t", file="f", throttle_group="g")
    began = time.monotonic()
    for _ in range(3):
        both.io("t", "aio_write 0 64k")
    both.io("f", "read -P 0xcd 0 64k")
    assert time.monotonic() - began < 15


def test_time_passes_before_it_ends() -> None:
    limits = {"bps": 65536, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
    with qmpd.Machine(disks={"d": "1M"}, clock="held") as vm:
        vm.cmd("block_set_io_throttle", {"device": "d", **limits})
        for _ in range(4):
            assert vm.hmp('qemu-io d "aio_write 0 64k"') == ""
        said = "".join(vm.printed)
        vm.clock.advance(10)
        assert "".join(vm.printed).count("wrote 65536/65536") == 4
        assert said.count("wrote") < 4
