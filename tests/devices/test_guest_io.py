"""What becomes of a guest's requests that fail, by the error policies of its device."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from qmpd.errors import BlockIOError
from qmpd.machine.devices.board import Board
from qmpd.machine.devices.guest_io import guest_request
from tests.support.machines import TestMachine

PC = Board("pc", "pc-i440fx-10.0", cpus=1)
MIB = 1 << 20


def _machine(code: int, **policies: str) -> TestMachine:
    """A machine with disk `v`, whose first write fails with `code`."""
    test = TestMachine(board=PC)
    test.machine.creation_done = True
    rule = {"event": "none", "iotype": "write", "errno": code, "once": True}
    null = {"driver": "null-co", "size": MIB}
    test.execute("blockdev-add", driver="blkdebug", node_name="n", image=null, inject_error=[rule])
    test.execute("device_add", driver="virtio-blk-pci", id="v", drive="n", **policies)
    return test


def _write(test: TestMachine) -> Any:
    disk = test.machine.devices.find("v").disk
    return guest_request(test.machine, disk, "write", 512, lambda b: b.pwrite(0, bytes(512)))


def _errors(test: TestMachine) -> list[dict[str, Any]]:
    return [data for name, data in test.events if name == "BLOCK_IO_ERROR"]


@pytest.mark.parametrize(
    ("policy", "code"), [("report", errno.EIO), ("enospc", errno.EIO), ("auto", errno.EIO)]
)
def test_the_guest_is_told(policy: str, code: int) -> None:
    test = _machine(code, werror=policy)
    with pytest.raises(BlockIOError) as caught:
        test.clock.run(_write(test))
    assert caught.value.errno == code
    (event,) = _errors(test)
    assert (event["action"], event["operation"], event["node-name"]) == ("report", "write", "n")
    assert event["qom-path"] == "/machine/peripheral/v/virtio-backend"


def test_the_guest_is_not_told() -> None:
    test = _machine(errno.EIO, werror="ignore")
    assert test.clock.run(_write(test)) is None
    assert [event["action"] for event in _errors(test)] == ["ignore"]
    assert test.machine.running


@pytest.mark.parametrize(("policy", "code"), [("stop", errno.EIO), ("enospc", errno.ENOSPC)])
def test_the_guest_stops_until_cont(policy: str, code: int) -> None:
    test = _machine(code, werror=policy)
    written: list[bool] = []

    async def write() -> None:
        await _write(test)
        written.append(True)

    test.clock.spawn(write(), "write")
    test.clock.settle()
    assert test.execute("query-status")["status"] == "io-error"
    (event,) = _errors(test)
    assert (event["action"], event["nospace"]) == ("stop", code == errno.ENOSPC)
    (entry,) = test.execute("query-block")
    assert entry["io-status"] == ("nospace" if code == errno.ENOSPC else "failed")
    assert not written
    test.execute("cont")
    test.clock.settle()
    assert written
    (entry,) = test.execute("query-block")
    # cont resets that of backends with a name only (qmp_cont)
    assert entry["io-status"] == ("nospace" if code == errno.ENOSPC else "failed")


def test_requests_that_wait_are_dropped_by_a_reset() -> None:
    test = _machine(errno.EIO, werror="stop")
    failures: list[int] = []

    async def write() -> None:
        try:
            await _write(test)
        except BlockIOError as error:
            failures.append(error.errno)

    test.clock.spawn(write(), "write")
    test.clock.settle()
    test.execute("system_reset")
    test.execute("cont")
    test.clock.settle()
    assert failures == [errno.ECANCELED]
