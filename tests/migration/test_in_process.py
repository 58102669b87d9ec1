"""Two machines of one program, and streams that nobody has sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import qmpd
from qmpd.api.pipe import PipeEnd, pipe
from qmpd.block.images import MemoryStorage
from qmpd.loop.stream import Channel
from qmpd.machine.migration import bitmap_format as bits
from qmpd.machine.migration import stream as form
from qmpd.machine.migration.stream import Command, Section


def _may(vm: qmpd.Machine, *names: str) -> None:
    changes = [{"capability": name, "state": True} for name in names]
    vm.cmd("migrate-set-capabilities", {"capabilities": changes})


def _pair(**options: Any) -> tuple[qmpd.Machine, qmpd.Machine]:
    disks = {"d": "1M"}
    source = qmpd.Machine(disks=disks, **options)
    target = qmpd.Machine(disks=disks, incoming=True, **options)
    for vm in (source, target):
        _may(vm, "events", "dirty-bitmaps")
    return source, target


def _told(vm: qmpd.Machine) -> list[Any]:
    return [
        event["data"]["status"] if event["event"] == "MIGRATION" else event["event"]
        for event in vm.get_qmp_events()
        if event["event"] != "MIGRATION_PASS"
    ]


def test_an_image_and_its_bitmap_go_along() -> None:
    storage = MemoryStorage()
    image = {"path": "a.qcow2", "format": "qcow2"}
    source = qmpd.Machine(images={"a": {**image, "size": "1M"}}, storage=storage)
    source.cmd("block-dirty-bitmap-add", node="a", name="b", persistent=True)
    source.disk("a").write(0, b"hello")
    target = qmpd.Machine(images={"a": image}, storage=storage, incoming=True)
    assert not target.nodes["a"]["active"]
    source.migrate(target)
    assert target.disk("a").read(0, 5) == b"hello"
    assert [bitmap["count"] for bitmap in target.nodes["a"]["dirty-bitmaps"]] == [65536]
    assert not source.nodes["a"]["active"]
    assert "dirty-bitmaps" not in source.nodes["a"]
    with pytest.raises(qmpd.errors.GenericError, match="lock"):
        source.cmd("cont")


def test_states() -> None:
    source, target = _pair()
    source.cmd("block-dirty-bitmap-add", node="d", name="b")
    source.disk("d").write(0, bytes(4096))
    source.migrate(target)
    assert _told(source) == ["setup", "active", "STOP", "device", "completed"]
    assert _told(target) == ["setup", "active", "RESUME", "completed"]
    assert target.cmd("query-migrate") == {"status": "completed"}


def test_a_held_clock_holds_it_up() -> None:
    """The 100 ms in which QEMU finds out how fast it sends pass on the machine's clock."""
    source, target = _pair(clock="held")
    source.cmd("block-dirty-bitmap-add", node="d", name="b")
    with pytest.raises(qmpd.errors.WaitsForever):
        source.migrate(target)
    source.clock.advance(0.099)
    assert source.cmd("query-migrate")["status"] == "active"
    source.clock.advance(0.001)
    info = source.cmd("query-migrate")
    assert (info["status"], info["total-time"], info["downtime"]) == ("completed", 100, 0)
    assert target.cmd("query-status")["status"] == "running"


def test_postcopy_at_a_bandwidth() -> None:
    source, target = _pair(clock="held")
    source.cmd("block-dirty-bitmap-add", node="d", name="b", granularity=512)
    source.disk("d").write(0, bytes(1 << 20))
    source.cmd("migrate-set-parameters", {"max-postcopy-bandwidth": 100})
    with pytest.raises(qmpd.errors.WaitsForever):
        source.migrate(target)
    source.cmd("migrate-start-postcopy")
    assert target.cmd("query-status")["status"] == "running"
    bitmaps = [vm.nodes["d"]["dirty-bitmaps"] for vm in (source, target)]
    assert all(bitmap["busy"] for bitmap in bitmaps[0])
    # that which comes, and its successor
    assert [bitmap.get("name") for bitmap in bitmaps[1]] == [None, "b"]
    target.disk("d").write(0, bytes(512))
    source.clock.advance(60.0)
    target.cmd("query-status")
    assert source.cmd("query-migrate")["status"] == "completed"
    (bitmap,) = target.nodes["d"]["dirty-bitmaps"]
    assert (bitmap["count"], bitmap["busy"], bitmap["recording"]) == (1 << 20, False, True)


def test_pause_before_switchover() -> None:
    source, target = _pair()
    _may(source, "pause-before-switchover")
    source.migrate(target)
    assert source.cmd("query-status")["status"] == "finish-migrate"
    with pytest.raises(qmpd.errors.GenericError, match="not finalized"):
        source.cmd("cont")
    with pytest.raises(qmpd.errors.GenericError, match="checkpoint"):
        source.checkpoint()
    source.cmd("migrate-continue", state="pre-switchover")
    assert target.cmd("query-status")["status"] == "running"
    assert source.cmd("query-status")["status"] == "postmigrate"


def test_a_machine_closes_in_the_middle() -> None:
    source, target = _pair()
    _may(source, "pause-before-switchover")
    source.cmd("block-dirty-bitmap-add", node="d", name="b")
    source.migrate(target)
    source.close()
    assert target.cmd("query-migrate")["status"] == "failed"
    assert "dirty-bitmaps" not in target.nodes["d"]
    target.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_on_an_event_loop(fails: bool) -> None:
    disks = {"d": "1M"}
    async with (
        qmpd.aio.Machine(disks=disks) as source,
        qmpd.aio.Machine(disks=disks, incoming=True) as target,
    ):
        for vm in (source, target):
            changes = [{"capability": "dirty-bitmaps", "state": True}]
            await vm.cmd("migrate-set-capabilities", {"capabilities": changes})
        await source.cmd("block-dirty-bitmap-add", node="d", name="b")
        if fails:
            await target.cmd("block-dirty-bitmap-add", node="d", name="b")
            with pytest.raises(qmpd.errors.GenericError):
                await source.migrate(target)
            assert (await source.cmd("query-status"))["status"] == "running"
            return
        await source.migrate(target)
        assert (await target.cmd("query-status"))["status"] == "running"


def test_only_where_it_may() -> None:
    source, target = _pair()
    with pytest.raises(qmpd.errors.GenericError, match="no sockets"):
        source.cmd("migrate", uri="exec:true")
    assert source.cmd("query-status")["status"] == "running"
    with pytest.raises(qmpd.errors.GenericError, match="not specified"):
        target.migrate(source)


# Streams that nobody has sent


def _feed(data: bytes) -> tuple[qmpd.Machine, str]:
    """A machine that has been given a stream, and how that ended."""
    target = qmpd.Machine(disks={"d": "1M"}, incoming=True)
    far, near = pipe(target._core.clock, target._core.clock)
    sent = _sink(far, target)
    target._core.host.pipe = near
    target.cmd("migrate-incoming", {"uri": "unix:pipe", "exit-on-error": False})
    sent.write(data)
    sent.close()
    for _ in range(3):
        target.cmd("query-status")
    return target, target.cmd("query-migrate")["status"]


def _sink(end: PipeEnd, vm: qmpd.Machine) -> PipeEnd:
    end.connection = Channel(end, vm._core.clock)
    return end


def _bitmap(*pieces: bytes, kind: Section = Section.START) -> bytes:
    return form.section(kind, form.BITMAPS, pieces)


HEADER = form.header("none")
NAMED = bytes([bits.DEVICE_NAME | bits.BITMAP_NAME | bits.START]) + form.counted("d")
EOS = bytes([bits.EOS])
STATE = form.section(Section.FULL, form.GLOBAL_STATE, [b"\0\0\0\x08running".ljust(104, b"\0")])
BITMAP = _bitmap(
    *(NAMED, form.counted("b"), b"\0\1\0\0\1"),
    *(bytes([bits.BITS | bits.ZEROES]), bytes(8), b"\0\0\0\x80"),
    *(bytes([bits.COMPLETE]), EOS),
)
VALID = HEADER + BITMAP + STATE + bytes([Section.EOF])


def test_the_stream_that_others_are_made_of_is_valid() -> None:
    target, how = _feed(VALID)
    assert (how, target.complaints) == ("completed", [])
    assert [bitmap["name"] for bitmap in target.nodes["d"]["dirty-bitmaps"]] == ["b"]


@pytest.mark.parametrize(
    "data",
    [
        HEADER + _bitmap(NAMED, form.counted("b"), b"\0\0\0\0\1", EOS),
        HEADER + _bitmap(NAMED, form.counted("b"), b"\0\0\x03\0\1", EOS),
        HEADER + _bitmap(NAMED, form.counted("b"), b"\0\1\0\0\xff", EOS),
        HEADER + form.section(Section.FULL, form.GLOBAL_STATE, [b"\0\0\0\3abc".ljust(104, b"\0")]),
        HEADER + b"\1\0\0\0\1\3ram\0\0\0\0\0\0\0\1",
        HEADER + b"\2\0\0\0\x09",
        HEADER + b"\x55",
        HEADER + form.command(Command.POSTCOPY_RUN),
        HEADER + form.command(Command.POSTCOPY_LISTEN),
        HEADER + form.command(Command.PACKAGED, b"\xff\xff\xff\xff"),
        HEADER + form.advise(memory=True),
        HEADER + form.advise(memory=False) + form.package(b""),
        HEADER + STATE[:-5] + bytes(5),
        HEADER + STATE[:-1] + b"\x07",
    ],
)
def test_streams_that_are_wrong(data: bytes) -> None:
    target, how = _feed(data + bytes(64))
    assert how == "failed"
    assert target.cmd("query-status")["status"] == "inmigrate"
    assert "dirty-bitmaps" not in target.nodes["d"]


@given(place=st.floats(0, 1), byte=st.integers(0, 255), end=st.floats(0, 1))
def test_streams_with_a_wrong_byte(place: float, byte: int, end: float) -> None:
    """They are loaded or refused, and no bitmap is left that cannot be used."""
    data = bytearray(VALID)
    data[int(place * (len(data) - 1))] = byte
    target, how = _feed(bytes(data[: int(end * len(data)) + 1]))
    assert how in ("completed", "failed")
    for bitmap in target.nodes["d"].get("dirty-bitmaps", []):
        assert how == "completed"
        assert not bitmap["busy"]
    target.close()
