"""Both programs with the same files, each in a directory of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.differential.pair import Pair
from tests.support.normal import normal


class Files(Pair):
    """Both programs, each in a directory of its own with the same files in it."""

    def make(self, name: str, size: int, fill: bytes = b"") -> None:
        for side in ("real", "ours"):
            path = self.scratch / side / name
            path.write_bytes(fill)
            os.truncate(path, size)

    def request(self, request: dict[str, Any]) -> Any:
        expected = self.real.execute(request)
        got = self.ours.execute(request)
        ours = normal(got, str(self.scratch / "ours"))
        assert (request, ours) == (request, normal(expected, str(self.scratch / "real")))
        return got[-1]

    def add(self, driver: str, node: str | None, **options: Any) -> Any:
        arguments = {name.replace("_", "-"): value for name, value in options.items()}
        if node is not None:
            arguments["node-name"] = node
        return self.execute("blockdev-add", driver=driver, **arguments)

    def delete(self, node: str) -> Any:
        return self.execute("blockdev-del", **{"node-name": node})

    def io(self, node: str, command: str) -> Any:
        return self.execute(
            "human-monitor-command", **{"command-line": f'qemu-io {node} "{command}"'}
        )

    def look(self) -> None:
        self.execute("query-block")
        self.execute("query-named-block-nodes")
        self.execute("query-named-block-nodes", flat=True)
        self.execute("query-blockstats")
        self.execute("query-blockstats", **{"query-nodes": True})


@contextmanager
def both_programs(scratch: Path, *options: str) -> Iterator[Files]:
    """For fixtures: both programs while a test lasts; it is skipped where there is only one."""
    both = Files(scratch, *options)
    try:
        yield both
    finally:
        both.close()
