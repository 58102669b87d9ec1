"""The rules of the bitmap commands: every cell of the table of preconditions, orders of checks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from qmpd.block.bits.bitmap import DirtyBitmap
from qmpd.block.bits.rules import (
    REFUSED,
    add,
    begin_remove,
    check,
    clear,
    default_granularity,
    merge,
    set_enabled,
    to_be_hashed,
)
from qmpd.block.bits.successor import create_successor
from qmpd.errors import GenericError
from tests.bitmaps.world import World

BUSY = "Bitmap 'b' is currently in use by another operation and cannot be used"
READONLY = "Bitmap 'b' is readonly and cannot be modified"
INCONSISTENT = "Bitmap 'b' is inconsistent and cannot be used"

EXPECTED = {
    # use: refused when (busy, readonly, inconsistent)
    "remove": (True, True, False),
    "clear": (True, True, True),
    "merge-target": (True, True, True),
    "merge-source": (True, False, True),
    "enable": (True, False, True),
    "disable": (True, False, True),
    "successor": (True, False, False),
    "backup": (True, True, True),
    "backup-never": (True, False, True),
    "export": (True, False, True),
    "migrate": (True, True, True),
    "sha256": (False, False, False),
}


def test_the_table_is_complete() -> None:
    assert set(EXPECTED) == set(REFUSED)


@pytest.mark.parametrize("use", EXPECTED)
@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
def test_every_cell(use: str, flags: tuple[bool, bool, bool]) -> None:
    bitmap = DirtyBitmap(65536, 65536, "b")
    bitmap.busy, bitmap.readonly, bitmap.inconsistent = flags
    texts = [
        text
        for text, is_so, refused in zip(
            (BUSY, READONLY, INCONSISTENT), flags, EXPECTED[use], strict=True
        )
        if is_so and refused
    ]
    if not texts:
        check(bitmap, use)
        return
    with pytest.raises(GenericError) as caught:
        check(bitmap, use)
    assert caught.value.desc == texts[0]


@pytest.fixture
def world() -> World:
    return World()


USES: dict[str, Callable[[World], object]] = {
    "remove": lambda w: w.run(begin_remove(w.graph, "n", "b")),
    "clear": lambda w: clear(w.graph, "n", "b"),
    "merge-target": lambda w: merge(w.graph, "n", "b", ["other"]),
    "merge-source": lambda w: merge(w.graph, "n", "other", ["b"]),
    "enable": lambda w: set_enabled(w.graph, "n", "b", enabled=True),
    "disable": lambda w: set_enabled(w.graph, "n", "b", enabled=False),
    "successor": lambda w: create_successor(w.node, w.bitmap("b")),
    "sha256": lambda w: to_be_hashed(w.graph, "n", "b"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("flag", ["busy", "readonly", "inconsistent"])
def test_commands_keep_to_the_table(world: World, use: str, flag: str) -> None:
    world.add("b")
    world.add("other")
    setattr(world.bitmap("b"), flag, True)
    before = world.state()
    column = ("busy", "readonly", "inconsistent").index(flag)
    if not EXPECTED[use][column]:
        USES[use](world)
        return
    with pytest.raises(GenericError) as caught:
        USES[use](world)
    assert caught.value.desc == (BUSY, READONLY, INCONSISTENT)[column]
    assert world.state() == before


@pytest.mark.parametrize(
    ("arguments", "desc"),
    [
        (("nope", "", {"granularity": 3}), "Bitmap name cannot be empty"),
        (("nope", "b", {"granularity": 3}), "Cannot find device='nope' nor node-name='nope'"),
        (("n", "b", {"granularity": 0}), "Granularity must be power of 2 and at least 512"),
        (("n", "b", {"granularity": 256}), "Granularity must be power of 2 and at least 512"),
        (("n", "b", {"granularity": 3 << 20}), "Granularity must be power of 2 and at least 512"),
        (
            ("n", "b", {"persistent": True}),
            "Can't store persistent bitmaps to n: Operation not supported",
        ),
        (("n", "b", {}), "Bitmap already exists: b"),
        (("n", "é" * 512, {}), "Bitmap name too long: " + "é" * 512),
    ],
)
def test_checks_of_add_in_order(
    world: World, arguments: tuple[str, str, dict[str, object]], desc: str
) -> None:
    world.add("b")
    node, name, more = arguments
    with pytest.raises(GenericError) as caught:
        add(world.graph, node, name, **more)  # type: ignore[arg-type]
    assert caught.value.desc == desc
    assert [bitmap.name for bitmap in world.node.bitmaps] == ["b"]


def test_add(world: World) -> None:
    world.add("x" * 1023)
    world.add("\x01 é")
    world.add("big", granularity=1 << 31)
    add(world.graph, "n", "off", disabled=True)
    names = [bitmap.name for bitmap in world.node.bitmaps]
    assert names == ["off", "big", "\x01 é", "x" * 1023]
    assert [bitmap.enabled for bitmap in world.node.bitmaps] == [False, True, True, True]
    assert world.bitmap("big").granularity == 1 << 31


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [(None, 65536), (512, 4096), (4096, 4096), (16384, 16384), (65536, 65536), (2 << 20, 65536)],
)
def test_default_granularity(cluster: int | None, expected: int) -> None:
    node = SimpleNamespace(driver=SimpleNamespace(cluster_size=lambda: cluster))
    assert default_granularity(node) == expected


@pytest.mark.parametrize(
    ("busy", "sources", "desc"),
    [
        # All observed on QEMU 10.0.2: a source is found, then the target is looked at.
        (["b"], ["nope"], "Dirty bitmap 'nope' not found"),
        (["b"], [("big", "c")], BUSY),
        (["b"], ["other", "nope"], BUSY),
        (["b", "other"], ["other"], BUSY),
        ([], ["other", ("zz", "c")], "Node 'zz' not found"),
        ([], ["other", "nope"], "Dirty bitmap 'nope' not found"),
        (
            [],
            [("big", "c"), "nope"],
            "Bitmaps are of different sizes (destination size is 1048576, source size is"
            " 67108864) and can't be merged",
        ),
    ],
)
def test_checks_of_merge_in_order(
    world: World, busy: list[str], sources: list[str | tuple[str, str]], desc: str
) -> None:
    world.blockdev("big", 1 << 26)
    world.add("b")
    world.add("other")
    world.add("c", node="big")
    world.bitmap("other").mark(0, 1)
    for name in busy:
        world.bitmap(name).busy = True
    before = world.state()
    with pytest.raises(GenericError) as caught:
        merge(
            world.graph,
            "n",
            "b",
            [s if isinstance(s, str) else SimpleNamespace(node=s[0], name=s[1]) for s in sources],
        )
    assert caught.value.desc == desc
    assert world.state() == before


def test_merge_without_sources_and_with_itself(world: World) -> None:
    """The first crashes QEMU 10.0.2 (transactions.md 3); nothing is to be done."""
    world.add("b")
    world.bitmap("b").mark(0, 1)
    before = world.state()
    merge(world.graph, "n", "b", [])
    merge(world.graph, "n", "b", ["b", "b"])
    assert world.state() == before
    with pytest.raises(GenericError, match="Dirty bitmap 'nope' not found"):
        merge(world.graph, "n", "nope", [])


def test_unknown_names(world: World) -> None:
    world.add("b")
    with pytest.raises(GenericError, match=r"^Node 'x' not found$"):
        to_be_hashed(world.graph, "x", "b")
    with pytest.raises(GenericError, match=r"^Dirty bitmap 'x' not found$"):
        clear(world.graph, "n", "x")
