"""What people do with domains: virsh prints, and libvirt sends, the same as with the real QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd
from tests.clients.libvirt.stories import STORIES
from tests.clients.libvirt.world import play


@pytest.mark.parametrize("name", STORIES)
def test_the_same_story(libvirtd: Libvirtd, place: Path, programs: list[str], name: str) -> None:
    play(libvirtd, place, STORIES[name], programs)
