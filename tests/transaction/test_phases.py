"""The phases of a transaction, their order, and who takes part in each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from qmpd.block.change.edges import add_parent
from qmpd.block.model.aio_context import AioContext
from qmpd.block.model.node import Edge
from qmpd.block.model.parent import CHILD_ROOT
from qmpd.errors import DeviceNotFound, GenericError, QmpError
from qmpd.transaction import (
    ACTIONS,
    Action,
    ActionRequest,
    run_transaction,
)
from qmpd.transaction.core import run_phases
from tests.bitmaps.world import World


class Recorder(Action):
    """Notes its phases; `data` is its name and whether it fails."""

    log: list[str]

    async def _note(self, phase: str) -> None:
        self.log.append(f"{phase} {self.data[0]}")

    async def prepare(self) -> None:
        await self._note("prepare")
        if self.data[1]:
            raise DeviceNotFound(f"{self.data[0]} fails")

    async def commit(self) -> None:
        await self._note("commit")

    async def abort(self) -> None:
        await self._note("abort")

    async def clean(self) -> None:
        await self._note("clean")


def _recorders(world: World, names: str, failing: str = "") -> tuple[list[Action], list[str]]:
    log: list[str] = []
    actions: list[Action] = []
    for name in names:
        action = Recorder(world, (name, name in failing))
        action.log = log
        actions.append(action)
    return actions, log


def _order(phase: str, names: str) -> list[str]:
    return [f"{phase} {name}" for name in names]


def test_commit_and_clean_go_backwards() -> None:
    world = World()
    actions, log = _recorders(world, "abc")
    world.run(run_phases(actions))
    assert log == _order("prepare", "abc") + _order("commit", "cba") + _order("clean", "cba")


@pytest.mark.parametrize("failing", "abc")
def test_abort_goes_backwards_from_the_failing_one(failing: str) -> None:
    world = World()
    actions, log = _recorders(world, "abc", failing + "c")
    with pytest.raises(DeviceNotFound, match=f"^{failing} fails$"):
        world.run(run_phases(actions))
    begun = "abc"[: "abc".index(failing) + 1]
    backwards = begun[::-1]
    assert log == _order("prepare", begun) + _order("abort", backwards) + _order("clean", backwards)


def test_no_actions_at_all() -> None:
    world = World()
    world.run(run_transaction(world, []))
    world.run(run_transaction(world, [], grouped=True))


GROUPABLE = {"blockdev-backup", "drive-backup"}


@pytest.mark.parametrize("kind", ACTIONS)
def test_completion_mode_grouped(kind: str) -> None:
    """Checked for the whole list before anything is prepared or even looked up."""
    world = World()
    data = SimpleNamespace(
        node="x", device="x", name="b", node_name=None, target="x", overlay="x", bitmaps=[]
    )
    requests = [ActionRequest("blockdev-backup", data), ActionRequest(kind, data)]
    with pytest.raises(GenericError) as caught:
        world.run(run_transaction(world, requests, grouped=True))
    if kind in GROUPABLE:
        assert caught.value.desc == "Cannot find device='x' nor node-name='x'"
    else:
        assert caught.value.desc == (
            f"Action '{kind}' does not support transaction property completion-mode = grouped"
        )


REFUSED = [
    ("blockdev-backup", {"device": "n", "target": "x"}, "Cannot find device='x' nor node-name='x'"),
    ("blockdev-backup", {"device": "x", "target": "y"}, "Cannot find device='x' nor node-name='x'"),
    ("drive-backup", {"device": "x", "target": "/t"}, "Cannot find device='x' nor node-name='x'"),
    ("blockdev-snapshot", {"node": "n", "overlay": "t"}, "The overlay does not support backing"),
    (
        "blockdev-snapshot",
        {"node": "n", "overlay": "x"},
        "Cannot find device='x' nor node-name='x'",
    ),
    (
        "blockdev-snapshot-sync",
        {"device": None, "node_name": "x"},
        "Cannot find device='' nor node-name='x'",
    ),
    (
        "blockdev-snapshot-sync",
        {"device": None, "node_name": None},
        "Cannot find device='' nor node-name=''",
    ),
    ("blockdev-snapshot-sync", {"device": "n", "node_name": None}, "Cannot find device='n' nor"),
    (
        "blockdev-snapshot-internal-sync",
        {"device": "n", "name": "s"},
        "Block format 'null-co' used by device 'n' does not support internal snapshots",
    ),
]


@pytest.mark.parametrize(("kind", "data", "desc"), REFUSED)
def test_actions_that_are_refused(kind: str, data: dict[str, Any], desc: str) -> None:
    world = World()
    world.blockdev("t", 1 << 20)
    with pytest.raises(QmpError) as caught:
        world.run(run_transaction(world, [ActionRequest(kind, SimpleNamespace(**data))]))
    assert caught.value.desc.startswith(desc)


def test_the_graph_is_drained_first_even_if_the_transaction_fails() -> None:
    world = World()
    calls: list[str] = []

    class Drained:
        name = user_description = brief_description = ""
        aio_context: AioContext = None
        holds = ()

        def check_context_change(self) -> None:
            calls.append("context")

        def node_activated(self) -> None:
            calls.append("activated")

        def node_inactivated(self) -> None:
            calls.append("inactivated")

        def node_resized(self) -> None:
            calls.append("resized")

        def drained_begin(self) -> None:
            calls.append("begin")

        def drained_poll(self) -> None:
            calls.append("poll")

        def drained_end(self) -> None:
            calls.append("end")

    add_parent(Edge("x", CHILD_ROOT, world.node, user=Drained()))
    with pytest.raises(GenericError, match="Transaction aborted using Abort action"):
        world.run(run_transaction(world, [ActionRequest("abort", SimpleNamespace())]))
    assert calls == ["begin", "poll", "end"]
    assert world.node.quiesce_counter == 0
