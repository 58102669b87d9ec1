"""Both programs with images that qemu-img has made, each in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.block.files import Files

SIDES = ("real", "ours")


def make_images(scratch: Path, images: Mapping[str, tuple[str, ...]]) -> None:
    """Make the same images for both.

    :param images: what ``qemu-img create`` is told of each by its name; the size comes last
    """
    for side in SIDES:
        (scratch / side).mkdir()
        for name, arguments in images.items():
            make = ["qemu-img", "create", "-q", *arguments[:-1], name, arguments[-1]]
            subprocess.run(make, cwd=scratch / side, check=True)


def start(
    scratch: Path, *options: str, images: Mapping[str, tuple[str, ...]] | None = None
) -> Files:
    """Start both programs on images of their own; see `make_images`."""
    make_images(scratch, images or {})
    return Files(scratch, *options)
