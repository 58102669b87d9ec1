"""Bitmaps of one node, against a set of granules for each: any sequence of changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from qmpd.block.bits.bitmap import DirtyBitmap, Saved
from qmpd.block.bits.bitmaps import Bitmaps as NodeBitmaps
from qmpd.block.bits.successor import abdicate, create_successor, reclaim

SIZES = (0, 512, 65536, 3 * 65536 + 512, 5 << 20, (1 << 26) + 512)


@dataclass
class FakeNode:
    """What carries the bitmaps."""

    bitmaps: NodeBitmaps = field(default_factory=NodeBitmaps)


@dataclass(eq=False)
class Model:
    """What a bitmap must be: a set of granules and two flags."""

    bitmap: DirtyBitmap
    granules: set[int]
    enabled: bool
    busy: bool = False
    successor: Model | None = None

    def touch(self, offset: int, length: int) -> None:
        g = self.bitmap.granularity
        self.granules |= set(range(offset // g, (offset + length - 1) // g + 1))

    def areas(self, size: int) -> list[tuple[int, int]]:
        g = self.bitmap.granularity
        return [(i * g, min(size, (i + 1) * g) - i * g) for i in sorted(self.granules)]


class Bitmaps(RuleBasedStateMachine):
    """Named bitmaps of different granularities, their successors, and undo."""

    models = Bundle("models")
    saved = Bundle("saved")

    @initialize(size=st.sampled_from(SIZES))
    def begin(self, size: int) -> None:
        self.size = size
        self.node = FakeNode()
        self.all: list[Model] = []
        self.epoch = 0

    @rule(
        target=models,
        granularity=st.sampled_from([512, 4096, 65536, 1 << 20, 1 << 31]),
        enabled=st.booleans(),
    )
    def add(self, granularity: int, enabled: bool) -> Model:
        name = f"b{len(self.all)}"
        bitmap = DirtyBitmap(self.size, granularity, name, enabled=enabled)
        self.node.bitmaps.add(bitmap)
        model = Model(bitmap, set(), enabled)
        self.all.append(model)
        return model

    @precondition(lambda self: self.size)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        offset = data.draw(st.integers(0, self.size - 1))
        length = data.draw(st.integers(1, min(self.size - offset, 1 << 20)))
        for bitmap in self.node.bitmaps:
            bitmap.mark(offset, length)
        for model in self.all:
            writer = model.successor or model
            if writer.enabled:
                writer.touch(offset, length)

    @precondition(lambda self: self.size)
    @rule(model=models, data=st.data())
    def reset(self, model: Model, data: st.DataObject) -> None:
        offset = data.draw(st.integers(0, self.size - 1))
        length = data.draw(st.integers(1, self.size - offset))
        g = model.bitmap.granularity
        model.bitmap.reset(offset, length)
        model.granules -= set(range(offset // g, (offset + length - 1) // g + 1))

    @rule(target=saved, model=models)
    def clear(self, model: Model) -> tuple[Model, Saved, set[int], int]:
        before = set(model.granules)
        model.granules.clear()
        return model, model.bitmap.clear(), before, self.epoch

    @rule(target=saved, model=models)
    def save(self, model: Model) -> tuple[Model, Saved, set[int], int]:
        return model, model.bitmap.save(), set(model.granules), self.epoch

    @rule(target=saved, model=models, source=models)
    def merge(self, model: Model, source: Model) -> tuple[Model, Saved, set[int], int]:
        before = set(model.granules)
        saved = model.bitmap.merge_from(source.bitmap)
        for offset, length in source.areas(self.size):
            model.touch(offset, length)
        return model, saved, before, self.epoch

    @rule(undo=consumes(saved))
    def restore(self, undo: tuple[Model, Saved, set[int], int]) -> None:
        model, saved, before, epoch = undo
        if epoch == self.epoch:
            model.bitmap.restore(saved)
            model.granules = before

    @rule(model=models, enabled=st.booleans())
    def enable(self, model: Model, enabled: bool) -> None:
        if not model.busy:
            model.bitmap.enabled = model.enabled = enabled

    @rule(model=models)
    def freeze(self, model: Model) -> None:
        if not model.busy:
            successor = create_successor(self.node, model.bitmap)
            assert next(iter(self.node.bitmaps)) is successor
            model.successor = Model(successor, set(), model.enabled)
            model.busy, model.enabled = True, False

    @rule(model=models)
    def abdicate(self, model: Model) -> None:
        if model.successor is not None:
            name = model.bitmap.name
            old = model.bitmap
            model.bitmap = abdicate(self.node, model.bitmap)
            assert model.bitmap.name == name
            assert old not in self.node.bitmaps
            model.granules, model.enabled = model.successor.granules, model.successor.enabled
            model.busy, model.successor = False, None
            self.epoch += 1

    @rule(model=models)
    def reclaim(self, model: Model) -> None:
        if model.successor is not None:
            reclaim(self.node, model.bitmap)
            model.granules |= model.successor.granules
            model.enabled = model.successor.enabled
            model.busy, model.successor = False, None

    @rule(size=st.sampled_from(SIZES))
    def resize(self, size: int) -> None:
        self.size = size
        self.epoch += 1
        for bitmap in self.node.bitmaps:
            bitmap.resize(size)
        for model in self.all:
            for each in (model, model.successor):
                if each is not None:
                    limit = -(-size // each.bitmap.granularity)
                    each.granules = {g for g in each.granules if g < limit}

    @invariant()
    def agrees(self) -> None:
        for model in getattr(self, "all", []):
            for each in (model, model.successor):
                if each is None:
                    continue
                bitmap = each.bitmap
                assert bitmap in self.node.bitmaps
                assert bitmap.name is None or self.node.bitmaps.named(bitmap.name) is bitmap
                assert bitmap.count == len(each.granules) * bitmap.granularity
                assert (bitmap.enabled, bitmap.busy) == (each.enabled, each.busy)
                assert list(bitmap.extents()) == _joined(each.areas(self.size))
            assert model.bitmap.successor is (model.successor and model.successor.bitmap)
            assert model.bitmap.recording == (model.successor or model).enabled


def _joined(areas: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for offset, length in areas:
        if joined and sum(joined[-1]) == offset:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((offset, length))
    return joined


TestBitmaps = Bitmaps.TestCase
TestBitmaps.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
