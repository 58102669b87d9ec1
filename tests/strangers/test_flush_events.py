"""blkdebug hears of flushes: "fail on the read after the next flush" (QEMU's tests 124, 257)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.block.files import Files, both_programs
from tests.strangers.world import make_images


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Files]:
    make_images(tmp_path, {"t.qcow2": ("-f", "qcow2", "1M")})
    with both_programs(tmp_path) as pair:
        yield pair


@pytest.mark.parametrize("event", ["flush_to_os", "flush_to_disk"])
@pytest.mark.parametrize("cache", [{}, {"no-flush": True}])
@pytest.mark.parametrize("before", ["read 0 512", "write 0 64k"])
def test_state_changes_with_a_flush(
    both: Files, event: str, cache: dict[str, bool], before: str
) -> None:
    rules = {
        "set-state": [{"event": event, "state": 1, "new_state": 2}],
        "inject-error": [{"event": "read_aio", "state": 2, "once": True, "errno": 5}],
    }
    file = {"driver": "file", "filename": "t.qcow2"}
    image = {"driver": "blkdebug", "image": file, **rules}
    both.add("qcow2", "n", file=image, cache=cache)
    both.io("n", "write -P 1 128k 64k")
    both.io("n", before)
    both.io("n", "flush")
    both.io("n", "read 128k 64k")
    both.io("n", "flush")
    both.io("n", "read 128k 64k")


def test_a_failed_flush_is_done_again(both: Files) -> None:
    rules = {
        "set-state": [{"event": "flush_to_disk", "state": 1, "new_state": 2}],
        "inject-error": [{"event": "none", "iotype": "flush", "once": True, "errno": 28}],
    }
    file = {"driver": "file", "filename": "t.qcow2"}
    both.add("qcow2", "n", file={"driver": "blkdebug", "image": file, **rules})
    both.io("n", "write -P 1 128k 64k")
    for _ in range(4):
        both.io("n", "flush")
