"""What block-export-add says where there is nothing to export with."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.block.change.blockdev import blockdev_add, blockdev_del
from qmpd.block.images import HostStorage
from qmpd.errors import GenericError, NotServed
from qmpd.export.add import add_export
from tests.support.machines import TestMachine

ADDRESS = {"type": "unix", "path": "/nowhere/x.sock"}
EXPORTS: dict[str, tuple[dict[str, Any], str]] = {
    "vhost-user-blk": ({"addr": ADDRESS}, "need a machine that is served"),
    "fuse": ({"mountpoint": "/dev/null"}, "'/dev/null' is not a regular file"),
    "vduse-blk": ({"name": "x", "queue-size": 2}, "queue-size is invalid"),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_machine_without_server(kind: str) -> None:
    options, text = EXPORTS[kind]
    box = TestMachine(HostStorage())
    clock, machine = box.clock, box.machine
    null = {"driver": "null-co", "node-name": "n", "size": 1 << 20}
    clock.run(blockdev_add(machine.graph, null))
    with pytest.raises(GenericError, match=text) as caught:
        clock.run(add_export(machine, {"type": kind, "id": "e", "node-name": "n", **options}))
    assert isinstance(caught.value, NotServed) == (kind == "vhost-user-blk")
    assert machine.exports.query() == []
    clock.run(blockdev_del(machine.graph, "n"))
