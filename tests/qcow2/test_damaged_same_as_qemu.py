"""Damaged images in both programs: what opening says, and all that is done with them then.

Of images on which QEMU dies only is asked that qmpd does not.  ``QMPD_DAMAGED_IMAGES`` says how
many there are, ``QMPD_DAMAGED_SEED`` which ones; one that differs is told by both.
"""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from tests.qcow2.beside import Difference, Sides, compare_all, image_name
from tests.qcow2.damaged import KINDS, Damage, requests, whole
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

IMAGES = int(os.environ.get("QMPD_DAMAGED_IMAGES", "60"))
SEED = int(os.environ.get("QMPD_DAMAGED_SEED", "1"))

KNOWN: Final = {
    "110:539": "QEMU keeps what bits a bitmap has beyond the disk's end, has them when it grows,"
    " and counts them only when it shrinks again",
}
"""The images that differ, and why."""


def compare(seed: str, sides: Sides) -> Difference | str:
    """Compare what both do with one image; returns a word where there is no difference."""
    chance = random.Random(seed)
    damage = Damage(chance, whole(sides.folder, chance.randrange(len(KINDS))))
    data = damage.apply()
    work = list(requests(chance, image_name(seed)))
    return sides.compare(seed, damage.told, data, work)


def test_damaged_images(sides: Sides) -> None:
    def compare_one(seed: str) -> Difference | str:
        found = compare(seed, sides)
        return "known" if isinstance(found, Difference) and found.seed in KNOWN else found

    compare_all(compare_one, SEED, IMAGES)


ONCE_DIFFERENT: Final = {
    "4:450": "what one part of a long write frees, and the parts after it",
    "4:510": "the same",
    "11:394": "bitmaps that are stored on an L2 table when the image is closed",
    "11:408": "the same",
    "102:474": "freed clusters are reused while an L2 table cannot be written",
    "103:160": "the file is cut off while an L2 table cannot be written",
    "103:161": "a search for free clusters goes on behind a refcount block that cannot be read",
    "104:923": "numbers of a snapshot that have a sign in QAPI",
    "108:456": "bitmaps of a disk of no length",
    "108:548": "a bitmap directory that would be at the file's start",
    "109:298": "an L2 table beyond the end of a file that is cut off",
    "109:336": "an image that is found to be corrupt while some of it is zeroed",
    "202:507": "an encryption method that has a sign",
    "205:413": "a part of a long write finds that the image is corrupt",
    "207:732": "a refcount block that counts itself, and is freed",
}


@pytest.mark.parametrize("seed", ONCE_DIFFERENT)
def test_once_different(sides: Sides, seed: str) -> None:
    found = compare(seed, sides)
    assert found in ("opened", "refused"), str(found)


@pytest.mark.parametrize("seed", ["11:74", "107:883"])
def test_safer(sides: Sides, seed: str) -> None:
    """Tables are written here that QEMU still has in memory when it finds the image corrupt."""
    found = compare(seed, sides)
    assert found == "safer", str(found)
