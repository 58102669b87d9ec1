"""qemu-io's requests that are made in slices say what they would if they were made at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.exhaustion.beside import serving
from tests.exhaustion.cases import hmp

SLICE = 4 << 20
LONG = 2 * SLICE + 4096
ODD = 5
"""An offset that is that of no slice and no line."""


@pytest.mark.parametrize("read", ["read", "aio_read"])
@pytest.mark.parametrize("storage", ["memory", "host"])
def test_what_is_read(storage: str, read: str, tmp_path: Path) -> None:
    with (tmp_path / "image").open("wb") as image:
        image.truncate(16 << 20)
    options = ("--storage", storage) + (
        ("--image", "image") if storage == "host" else ("--disk", "disk0=16M")
    )
    with serving(tmp_path, *options) as daemon:
        client = daemon.client()
        for line in (
            f"write -q -P 7 0 {LONG}",
            f"write -q -P 8 {SLICE} 512",
            f"{read} -P 7 {SLICE + 512} {LONG - SLICE - 512}",
            f"{read} -P 7 0 {LONG}",
            f"{read} -v {ODD} {SLICE + 512}",
            f"{read} -q -P 0 0 {1 << 40}",
        ):
            client.ask(hmp(f'qemu-io disk0 "{line}"'))
            client.ask(hmp('qemu-io disk0 "aio_flush"'))
        client.close()
    said = daemon.output.read_text().splitlines()
    is_dump = re.compile("[0-9a-f]{8}:").match
    dump = [line for line in said if is_dump(line)]
    told = [line for line in said if not is_dump(line) and "ops" not in line]
    assert told[:4] == [
        f"read {LONG - SLICE - 512}/{LONG - SLICE - 512} bytes at offset {SLICE + 512}",
        f"Pattern verification failed at offset 0, {LONG} bytes",
        f"read {LONG}/{LONG} bytes at offset 0",
        f"read {SLICE + 512}/{SLICE + 512} bytes at offset {ODD}",
    ]
    shown = bytearray()
    for number, line in enumerate(dump):
        offset, digits, letters = re.split(": *|  ", line, maxsplit=2)
        assert int(offset, 16) == ODD + 16 * number
        row = bytes.fromhex(digits)
        assert letters == "." * len(row)
        shown += row
    expected = bytearray(b"\7" * (SLICE + 512 + ODD))
    expected[SLICE : SLICE + 512] = b"\10" * 512
    assert shown == expected[ODD:]
