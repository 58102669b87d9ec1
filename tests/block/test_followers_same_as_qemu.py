"""Nodes that are as long as the one below, when that is resized by a name of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.block.files import Files
from tests.support.versions import MEASURED

SIZE: Final = 64 << 10
ABOVE: Final[dict[str, dict[str, Any]]] = {
    "raw": {},
    "copy-on-read": {},
    "preallocate": {},
    "throttle": {"throttle_group": "g"},
    "blkdebug": {},
    "window": {"offset": 4096},
}


@pytest.mark.parametrize("version", MEASURED)
def test_lengths(version: str, tmp_path: Path) -> None:
    both = Files(tmp_path, "-object", "throttle-group,id=g", version=version)
    try:
        for name, options in ABOVE.items():
            if (name, version) == ("preallocate", "5.2"):
                continue
            both.make(name, SIZE)
            both.add("file", f"f-{name}", filename=name)
            child = "image" if name == "blkdebug" else "file"
            driver = "raw" if name == "window" else name
            both.add(driver, name, **options, **{child: f"f-{name}"})
            both.add("raw", f"r-{name}", file=name)
            for size in (4 * SIZE, SIZE // 4):
                both.execute("block_resize", size=size, **{"node-name": f"f-{name}"})
                both.execute("query-named-block-nodes")
                both.io(f"r-{name}", "length")
            # writes within what the nodes have by then
            both.execute("block_resize", size=2 * SIZE, **{"node-name": f"r-{name}"})
            both.execute("query-named-block-nodes")
    finally:
        both.close()
