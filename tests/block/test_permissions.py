"""Permissions: the rules for children, conflicts, and that a refusal changes nothing."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from qmpd.block.change.one_by_one import agree
from qmpd.block.io.backend import BlockBackend
from qmpd.block.permission_bits import (
    ALL,
    CONSISTENT_READ,
    COW,
    DATA,
    FILTERED,
    IMAGE,
    METADATA,
    NOTHING,
    RESIZE,
    WRITE,
    WRITE_UNCHANGED,
    Perm,
    default_child_permissions,
    permission_names,
)
from qmpd.errors import GenericError
from tests.block.world import World

if TYPE_CHECKING:
    from qmpd.block.model.node import Edge


def test_what_is_asked_of_children() -> None:
    for perm, shared, writable, active in itertools.product(
        map(Perm, range(ALL + 1)), map(Perm, range(ALL + 1)), (False, True), (False, True)
    ):
        ask = partial(
            default_child_permissions, perm=perm, shared=shared, writable=writable, active=active
        )
        assert ask(FILTERED) == (perm, shared)
        used, left = ask(COW)
        assert not used & ~CONSISTENT_READ
        assert used == perm & CONSISTENT_READ
        assert left & (CONSISTENT_READ | WRITE_UNCHANGED) == CONSISTENT_READ | WRITE_UNCHANGED
        assert bool(left & WRITE) == (bool(shared & WRITE) or not active)
        used, left = ask(METADATA)
        assert used & CONSISTENT_READ
        assert used & perm == perm
        assert bool(used & WRITE) == (writable or bool(perm & WRITE))
        assert bool(left & (WRITE | RESIZE)) == (not active)
        used, left = ask(DATA)
        assert used & perm == perm
        assert bool(used & RESIZE) == bool(perm & (WRITE | WRITE_UNCHANGED | RESIZE))
        assert bool(left & RESIZE) == (not active)
        assert ask(IMAGE)[0] == ask(METADATA)[0] | ask(DATA)[0]


def test_names_are_listed_in_their_order() -> None:
    assert permission_names(ALL) == "consistent read, write, write unchanged, resize"
    assert permission_names(RESIZE | WRITE) == "write, resize"
    assert permission_names(NOTHING) == ""


@dataclass
class Hold:
    """What a parent uses and shares."""

    perm: Perm
    shared: Perm


def test_parents_agree_where_no_two_of_them_conflict() -> None:
    chooser = random.Random(1)
    seen = set()
    for _ in range(3000):
        parents = [
            Hold(Perm(chooser.randrange(8)), Perm(ALL & ~chooser.choice((0, 0, 1, 2, 4))))
            for _ in range(chooser.randrange(5))
        ]
        conflict = any(
            one.perm & ~other.shared for one in parents for other in parents if one is not other
        )
        assert agree(cast("list[Edge]", parents)) is not conflict
        seen.add(conflict)
    assert seen == {False, True}


def test_a_conflict_names_both_and_changes_nothing() -> None:
    world = World()
    world.file("f", 1 << 20)
    node = world.add("file", "f", filename="f")
    holder = world.run(
        BlockBackend.on(node, name="d0", perm=CONSISTENT_READ, shared=CONSISTENT_READ)
    )
    with pytest.raises(GenericError) as caught:
        world.run(BlockBackend.on(node, perm=WRITE | RESIZE))
    assert caught.value.desc == (
        "Permission conflict on node 'f': permissions 'write, resize' are both required by"
        " an unnamed block device (uses node 'f' as 'root' child) and unshared by"
        " block device 'd0' (uses node 'f' as 'root' child)."
    )
    assert node.parents == [holder.root]
    assert world.graph.all_backends == [holder]
    other = world.run(BlockBackend.on(node))
    with pytest.raises(GenericError, match="Permission conflict"):
        other.require(WRITE)
    assert (other.perm, other.root.perm if other.root else None) == (0, 0)
    holder.set_permissions(NOTHING, ALL)
    other.require(WRITE)
    with pytest.raises(GenericError, match=r"required by an unnamed block device .* by block"):
        holder.set_permissions(NOTHING, NOTHING)
    assert holder.shared == ALL


def test_writers_are_kept_from_what_is_read_only() -> None:
    world = World()
    below = world.add("null-co", "n", read_only=True)
    above = world.add("raw", "r", file="n")
    for node in (below, above):
        backend = world.run(BlockBackend.on(node))
        with pytest.raises(GenericError, match="Block node is read-only"):
            backend.require(WRITE)
        assert below.cumulative_permissions() == (0, ALL)
        world.run(backend.close())


def test_permissions_follow_parents_down_a_diamond() -> None:
    world = World()
    bottom = world.add("null-co", "n")
    left = world.add("raw", "left", file="n")
    world.add("raw", "right", file="n")
    top = world.add("raw", "top", file="left")
    one = world.run(BlockBackend.on(top, perm=WRITE, shared=ALL & ~RESIZE))
    assert bottom.cumulative_permissions() == (WRITE, ALL & ~RESIZE)
    assert left.children["file"].perm == WRITE
    right = world.graph.lookup("right")
    with pytest.raises(GenericError, match="Permission conflict on node 'n'"):
        world.run(BlockBackend.on(right, perm=RESIZE))
    world.run(one.close())
    assert bottom.cumulative_permissions() == (0, ALL)
