"""References to metadata in both programs, and what `overlap-check` finds of each kind.

``QMPD_OVERLAP_IMAGES`` says how many images there are, ``QMPD_OVERLAP_SEED`` which ones.
"""

from __future__ import annotations

import os
import random
from functools import partial

import pytest

from tests.qcow2.beside import Difference, Sides, compare_all
from tests.qcow2.damaged import whole
from tests.qcow2.overlaps import IMAGES, PAIRS, Map, aim, requests
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

COUNT = int(os.environ.get("QMPD_OVERLAP_IMAGES", "60"))
SEED = int(os.environ.get("QMPD_OVERLAP_SEED", "1"))
STEP = 35
"""Has no divisor in common with the number of pairs: few images have some of everything."""


def compare(seed: str, sides: Sides) -> Difference | str:
    """Compare what both do with one image; returns a word where there is no difference."""
    chance = random.Random(seed)
    number = int(seed.partition(":")[2])
    reference, target = PAIRS[number * STEP % len(PAIRS)]
    kind = chance.choice(IMAGES)
    image = whole(sides.folder, kind)
    data = aim(image, reference, target)
    work = requests(chance, f"n{number}", target, Map(image).cluster)
    told = [f"image {kind}: {reference} at {target}", str(work[0]["arguments"]["overlap-check"])]
    return sides.compare(seed, told, data, work)


def test_references_to_metadata(sides: Sides) -> None:
    compare_all(partial(compare, sides=sides), SEED, COUNT)


@pytest.mark.parametrize("seed", ["3:16"])
def test_a_snapshot_that_fails(sides: Sides, seed: str) -> None:
    """The tables that it has counted are shared afterwards, and are copied when they change."""
    found = compare(seed, sides)
    assert found == "opened", str(found)
