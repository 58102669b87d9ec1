"""qmpd and the real QEMU with the same files, given the same at the same time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.block.files import Files
from tests.support.normal import normal, normal_text
from tests.support.stdio import StdioProgram

SIDES = ("real", "ours")
EXTENT_BLOCKS = 16
"""Sectors by which files may differ that are as thin: where the pieces of one lie in the file
system takes a block or two to note."""


class Drivers(Files):
    """Both programs, which work on a request together: what takes time takes it once.

    Lines of qemu-io's are compared like messages.  `apart` names events that come at moments of
    their own; they are not compared with the answers but kept, for each side, in `events`.
    """

    def __init__(self, scratch: Path, *options: str) -> None:
        super().__init__(scratch, *options)
        self.apart: frozenset[str] = frozenset()
        self.events: dict[str, list[Any]] = {side: [] for side in SIDES}

    def request(self, request: dict[str, Any]) -> Any:
        """As `Files.request`, with what is printed meanwhile."""
        data = json.dumps(request).encode() + b"\n"
        for side in SIDES:
            self._program(side).send(data)
        (expected, answer), (got, _) = [self._answer(side) for side in SIDES]
        assert (request, got) == (request, expected)
        return answer

    def _program(self, side: str) -> StdioProgram:
        program: StdioProgram = getattr(self, side)
        return program

    def _answer(self, side: str) -> tuple[list[Any], Any]:
        """All that one side says until it has answered, in its normal form; the answer."""
        folder = str(self.scratch / side)
        said: list[Any] = []
        while True:
            line = self._program(side).line().decode()
            if not line.startswith("{"):
                said.append(normal_text(line, folder))
                continue
            message = json.loads(line)
            if message.get("event") in self.apart:
                self.events[side].append(normal(message, folder))
                continue
            said.append(normal(message, folder))
            if "return" in message or "error" in message:
                return said, message

    def told(self, side: str, *names: str) -> list[Any]:
        """The events kept apart that name any of `names`."""
        return [e for e in self.events[side] if any(f"'{name}'" in str(e) for name in names)]

    def wait_told(self, side: str, count: int, *names: str) -> list[Any]:
        """As `told`, when there are `count` of them."""
        while len(self.told(side, *names)) < count:
            event = self._program(side).message()
            self.events[side].append(normal(event, str(self.scratch / side)))
        return self.told(side, *names)

    def io(self, node: str, *commands: str) -> None:
        """Guest I/O, one qemu-io command after the other."""
        for command in commands:
            super().io(node, command)

    def reopen(self, *options: dict[str, Any]) -> Any:
        """blockdev-reopen."""
        return self.execute("blockdev-reopen", options=list(options))

    def edges(self) -> None:
        """Compare who uses whom."""
        self.execute("x-debug-query-block-graph")

    def write(self, name: str, text: str) -> None:
        """A file of text in both folders."""
        for side in SIDES:
            (self.scratch / side / name).write_text(text)

    def patch(self, name: str, offset: int, data: bytes) -> None:
        """Change bytes of a file behind the programs' backs."""
        for side in SIDES:
            with (self.scratch / side / name).open("r+b") as file:
                file.seek(offset)
                file.write(data)

    def image(self, *arguments: str) -> None:
        """Run qemu-img in both folders; what it prints must be the same."""
        printed = {
            subprocess.run(
                ["qemu-img", *arguments],
                cwd=self.scratch / side,
                check=True,
                capture_output=True,
            ).stdout
            for side in SIDES
        }
        assert len(printed) == 1

    def same_bytes(self, *names: str) -> None:
        """Files must have the same contents and length on both sides."""
        for name in names:
            real, ours = (self.scratch / side / name for side in SIDES)
            assert ours.read_bytes() == real.read_bytes(), name

    def same_space(self, name: str) -> None:
        """A file must be as long, and as thin, on both sides."""
        real, ours = (os.stat(self.scratch / side / name) for side in SIDES)
        assert ours.st_size == real.st_size
        assert abs(ours.st_blocks - real.st_blocks) <= EXTENT_BLOCKS, (ours, real)

    def clear(self) -> None:
        """Delete all nodes and objects."""
        nodes = self.execute("query-named-block-nodes", flat=True)["return"]
        while nodes:
            for name in (node["node-name"] for node in nodes):
                if not name.startswith("#"):
                    self.delete(name)
            left = self.execute("query-named-block-nodes", flat=True)["return"]
            assert len(left) < len(nodes)
            nodes = left
        for entry in self.execute("qom-list", path="/objects")["return"]:
            if entry["name"] != "type":
                self.execute("object-del", id=entry["name"])
