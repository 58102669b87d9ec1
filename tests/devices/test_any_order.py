"""Devices plugged and unplugged in any order, on qmpd and on the real QEMU side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.devices.boards import Boards
from tests.support.programs import qemu_missing
from tests.support.sequences import run_any_sequence

IDS = st.sampled_from(["a", "b", "c", "d", "e", None])
NODES = st.sampled_from(["n0", "n1", "n2", None])
SCSI = ("scsi-hd", "scsi-cd")


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boards]:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    pair = Boards(tmp_path_factory.mktemp("boards"), "pc")
    for number in range(3):
        pair.add("null-co", f"n{number}", size=1 << 20)
    yield pair
    pair.close()


class Devices(RuleBasedStateMachine):
    """Requests that may be refused, but by both in the same way."""

    boards: ClassVar[Boards]

    def __init__(self) -> None:
        super().__init__()
        self.boards.device("virtio-scsi-pci", id="s0", addr="3")

    def _plug(self, driver: str, **properties: Any) -> None:
        given = {name: value for name, value in properties.items() if value is not None}
        self.boards.device(driver, **given)

    @rule(
        driver=st.sampled_from(SCSI),
        name=IDS,
        node=NODES,
        scsi_id=st.sampled_from([None, 0, 1, 255]),
        lun=st.sampled_from([None, 0, 1]),
        share=st.booleans(),
    )
    def plug_disk(
        self,
        driver: str,
        name: str | None,
        node: str | None,
        scsi_id: int | None,
        lun: int | None,
        share: bool,
    ) -> None:
        values = {"scsi-id": scsi_id, "lun": lun, "share-rw": share}
        self._plug(driver, id=name, drive=node, **values)

    @rule(
        driver=st.sampled_from(["virtio-blk-pci", "virtio-scsi-pci", "nvme"]),
        name=IDS,
        node=NODES,
        addr=st.sampled_from([None, "4", "4.1", "5", "1.3"]),
    )
    def plug_function(
        self, driver: str, name: str | None, node: str | None, addr: str | None
    ) -> None:
        # of an nvme that cannot have its drive QEMU leaves something behind
        node = node if driver == "virtio-blk-pci" else None
        serial = "x" if driver == "nvme" else None
        self._plug(driver, id=name, drive=node, addr=addr, serial=serial)

    @rule(name=IDS)
    def unplug(self, name: str | None) -> None:
        boards = self.boards
        if name is None:
            return
        model = boards.get(f"/machine/peripheral/{name}", "type").get("return")
        answer = boards.execute("device_del", id=name)
        if model in SCSI and "return" in answer:
            boards.events(1)

    @rule(name=IDS, node=NODES)
    def replace_medium(self, name: str | None, node: str | None) -> None:
        boards = self.boards
        if name is None or node is None:
            return
        # QEMU ends where there is no medium to replace, or where it is the same
        there = boards.get(name, "drive").get("return")
        if there not in (None, "", node):
            boards.execute("qom-set", path=name, property="drive", value=node)

    @rule()
    def look(self) -> None:
        self.boards.execute("query-block")
        for path in ("/machine/peripheral", "/machine/peripheral-anon"):
            self.boards.execute("qom-list", path=path)

    def teardown(self) -> None:
        boards = self.boards
        for path in ("/machine/peripheral", "/machine/peripheral-anon"):
            for entry in boards.execute("qom-list", path=path)["return"]:
                name, kind = f"{path}/{entry['name']}", entry["type"]
                if kind.startswith("child<scsi"):
                    boards.unplug(name)
                elif kind.startswith("child<"):
                    boards.execute("device_del", id=name)
        boards.reset()
        assert boards.execute("query-block")["return"] == []


def test_any_order(boards: Boards) -> None:
    Devices.boards = boards
    run_any_sequence(Devices, examples=10, steps=12)
