"""What the host keeps of a file in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qmpd.block.images.page_cache import is_cached


def test_what_has_been_written_is_cached(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100_000)
    fd = os.open(path, os.O_RDWR)
    try:
        assert is_cached(fd)
    finally:
        os.close(fd)


def test_an_empty_file_is_not_cached(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    try:
        assert not is_cached(fd)
    finally:
        os.close(fd)


def test_what_has_no_pages_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        is_cached(-1)
