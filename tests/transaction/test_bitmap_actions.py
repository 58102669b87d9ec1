"""The bitmap actions: what later actions see, and that an abort undoes everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.node import Node
from qmpd.errors import GenericError, QmpError
from qmpd.transaction import ActionRequest, run_action, run_transaction
from tests.bitmaps.world import World

BUSY = "Bitmap 'a' is currently in use by another operation and cannot be used"


def _action(kind: str, **data: Any) -> ActionRequest:
    absent = {"granularity": None, "persistent": None, "disabled": None}
    return ActionRequest(f"block-dirty-bitmap-{kind}", SimpleNamespace(**absent | data))


def add(name: str, **more: Any) -> ActionRequest:
    return _action("add", node="n", name=name, **more)


def simple(kind: str, name: str, node: str = "n") -> ActionRequest:
    return _action(kind, node=node, name=name)


def merge(target: str, *sources: Any) -> ActionRequest:
    return _action("merge", node="n", target=target, bitmaps=list(sources))


ABORT = ActionRequest("abort", SimpleNamespace())


@pytest.fixture
def world() -> World:
    world = World()
    world.add("a").mark(0, 131072)
    return world


def _fails(world: World, *requests: ActionRequest) -> str:
    """The error's text; fails unless all is as before."""
    before = world.state()
    with pytest.raises(QmpError) as caught:
        world.run(run_transaction(world, requests))
    assert world.state() == before
    return caught.value.desc


def test_checkpoint_hand_over(world: World) -> None:
    requests = [
        add("b", disabled=True),
        merge("b", "a"),
        simple("disable", "a"),
        simple("enable", "b"),
        simple("clear", "a"),
    ]
    assert _fails(world, *requests, ABORT) == "Transaction aborted using Abort action"
    world.run(run_transaction(world, requests))
    a, b = world.bitmap("a"), world.bitmap("b")
    assert list(world.node.bitmaps) == [b, a]
    assert (a.count, a.recording, b.count, b.recording) == (0, False, 131072, True)


def test_a_removed_bitmap_is_busy_until_commit(world: World) -> None:
    """All recorded from QEMU 10.0.2 (session transaction-bitmaps)."""
    remove = simple("remove", "a")
    assert _fails(world, remove, add("a")) == "Bitmap already exists: a"
    for later in ("remove", "clear", "enable", "disable"):
        assert _fails(world, remove, simple(later, "a")) == BUSY
    assert _fails(world, remove, merge("a", "a")) == BUSY
    world.add("b")
    assert _fails(world, merge("b", "a"), remove, ABORT).startswith("Transaction aborted")
    world.run(run_transaction(world, [merge("b", "a"), remove]))
    assert [bitmap.name for bitmap in world.node.bitmaps] == ["b"]
    assert world.bitmap("b").count == 131072


def test_writes_between_are_kept_or_undone_with_the_bits(world: World) -> None:
    """Repeated clears and merges of one bitmap come back to the first state."""
    requests = [simple("clear", "a"), merge("a", "a"), simple("clear", "a"), merge("a"), ABORT]
    _fails(world, *requests)
    world.bitmap("a").mark(1 << 19, 1)
    assert world.bitmap("a").count == 196608


@pytest.mark.parametrize(
    ("request_", "desc"),
    [
        # The first and the last end QEMU 10.0.2 (transactions.md 3); this is the sane answer.
        (simple("enable", "nope"), "Dirty bitmap 'nope' not found"),
        (simple("enable", "a", node="nope"), "Node 'nope' not found"),
        (simple("disable", "nope"), "Dirty bitmap 'nope' not found"),
        (simple("remove", "nope"), "Dirty bitmap 'nope' not found"),
        (simple("clear", "nope"), "Dirty bitmap 'nope' not found"),
        (merge("nope", "a"), "Dirty bitmap 'nope' not found"),
        (add("a"), "Bitmap already exists: a"),
    ],
)
def test_a_failing_action_undoes_nothing_it_has_not_done(
    world: World, request_: ActionRequest, desc: str
) -> None:
    assert _fails(world, simple("disable", "a"), request_, ABORT) == desc


def test_enable_of_a_missing_bitmap_and_merge_of_nothing(world: World) -> None:
    world.run(run_transaction(world, [merge("a")]))
    assert world.bitmap("a").count == 131072
    world.run(run_action(world, *merge("a")))
    with pytest.raises(GenericError, match="Dirty bitmap 'nope' not found"):
        world.run(run_action(world, *simple("enable", "nope")))


class FakePersistence(BlockDriver):
    """A driver that stores bitmaps; notes what is removed from the image."""

    removed: list[str]

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.removed = []

    def check_can_store_bitmap(self, name: str, granularity: int) -> None:
        pass

    async def remove_persistent_bitmap(self, name: str) -> None:
        if name == "stuck":
            raise GenericError("image is stuck")
        self.removed.append(name)

    def cluster_size(self) -> int:
        return 4096


def test_removing_a_persistent_bitmap(world: World) -> None:
    """Its stored copy goes in prepare; after an abort it will be stored again."""
    driver = FakePersistence(world.node)
    world.node.driver = driver
    world.run(run_action(world, *add("p", persistent=True)))
    world.add("stuck", persistent=True)
    bitmap = world.bitmap("p")
    assert bitmap.persistent
    assert bitmap.granularity == 4096
    assert _fails(world, simple("remove", "stuck")) == "image is stuck"
    _fails(world, simple("remove", "p"), ABORT)
    assert driver.removed == ["p"]
    assert not bitmap.skip_store
    bitmap.inconsistent = True
    world.run(run_action(world, *simple("remove", "p")))
    assert bitmap not in world.node.bitmaps


names = st.sampled_from(["a", "b", "c", "nope"])
external = st.builds(
    lambda node, name: SimpleNamespace(node=node, name=name), st.sampled_from(["n", "m"]), names
)
actions = st.one_of(
    st.builds(
        add, names, granularity=st.sampled_from([None, 512, 1 << 20]), disabled=st.booleans()
    ),
    st.builds(simple, st.sampled_from(["remove", "clear", "enable", "disable"]), names),
    st.builds(
        lambda target, sources: merge(target, *sources),
        names,
        # a merge of nothing succeeds on a bitmap that is being removed, and alone finds none
        st.lists(st.one_of(names, external), min_size=1, max_size=3),
    ),
)


@given(st.lists(actions, max_size=8), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_all_or_nothing(requests: list[ActionRequest], recording: bool, readonly: bool) -> None:
    """An abort at every position, and whatever fails by itself, leaves everything as it was."""
    world = World()
    world.blockdev("m", 1 << 20)
    world.add("a", disabled=not recording).set(0, 70_000)
    world.add("b", granularity=4096).mark(500_000, 10_000)
    world.bitmap("b").readonly = readonly
    world.add("c", node="m", granularity=1 << 19).mark(0, 1)
    before = world.state()
    for position in range(len(requests) + 1):
        listed = [*requests[:position], ABORT, *requests[position:]]
        with pytest.raises(QmpError):
            world.run(run_transaction(world, listed))
        assert world.state() == before
    try:
        world.run(run_transaction(world, requests))
    except QmpError:
        assert world.state() == before
    else:
        alone = World()
        alone.blockdev("m", 1 << 20)
        alone.add("a", disabled=not recording).set(0, 70_000)
        alone.add("b", granularity=4096).mark(500_000, 10_000)
        alone.bitmap("b").readonly = readonly
        alone.add("c", node="m", granularity=1 << 19).mark(0, 1)
        for request in requests:
            alone.run(run_action(alone, *request))
        assert _without_ids(alone) == _without_ids(world)


def _without_ids(world: World) -> list[tuple[object, ...]]:
    return [(state[0], *state[2:11], *state[12:]) for state in world.state()]
