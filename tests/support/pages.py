"""The blocks of a page of documentation, and how each is run.

* ``python``: run as a program, in an empty folder that it leaves empty. What stands behind
  ``print(...)  #`` is in its output. A block that defines tests (``def test_``) is run by pytest.
* A block whose first line is a comment with a file's name (``# test_backup.py``) is that file, for
  the blocks after it. A file of tests is run by pytest, unless the page runs pytest itself.
* ``sh``: run by ``sh -eu`` with qmpd's programs on the PATH. What installs something is left out,
  and a line that ends with ``&`` is waited for until the sockets that it names are there.
* ``text`` directly after one of these: each of its lines is in the output, ``...`` standing for
  anything. Where it says that tests failed, they do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/howto/*.md")])

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w/-]+\.\w+)\n")
_INSTALLS = re.compile(r"^(python3 -m venv|\S*pip install|git clone|\. \S*activate)")


@dataclass(frozen=True)
class Block:
    """A block of a page that can be run.

    :ivar shown: the ``text`` block behind it; empty if there is none
    """

    page: Path
    number: int
    language: str
    body: str
    shown: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        match = _NAME.match(self.body)
        return None if match is None else match[1]

    @property
    def id(self) -> str:
        """Where it is, for people."""
        return f"{self.page.relative_to(ROOT / 'docs')}-{self.number}"

    def run(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run it in an empty folder, which then has the files of the page's earlier blocks."""
        blocks = read_blocks(self.page)
        for block in blocks[: self.number + 1]:
            if block.file is not None:
                (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.file).write_text(block.body, "utf-8")
        bin_folder = Path(sys.executable).parent
        return subprocess.run(
            self._argv(folder),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            env={
                **{key: value for key, value in os.environ.items() if "PYTEST" not in key},
                "PATH": f"{bin_folder}:{os.environ['PATH']}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTEST_ADDOPTS": "-p no:cacheprovider",
            },
        )

    def _argv(self, folder: Path) -> list[str]:
        if self.language == "sh":
            return ["sh", "-euc", _script(self.body)]
        if not self._has_tests:
            return [sys.executable, "-W", "error", "-c", self.body]
        name = self.file or "test_block.py"
        (folder / name).write_text(self.body, "utf-8")
        return [sys.executable, "-m", "pytest", "-q", name]

    @property
    def _has_tests(self) -> bool:
        return re.search(r"^ *(async )?def test_", self.body, re.MULTILINE) is not None

    @property
    def is_run(self) -> bool:
        """Whether it is run by itself: not where it is a file for later blocks."""
        if self.file is None:
            return True
        others = [block.body for block in read_blocks(self.page) if block.language == "sh"]
        return self._has_tests and not any("pytest -" in body for body in others)

    @property
    def leaves_nothing(self) -> bool:
        """Whether the folder is empty in the end: a program's is, on a page without files."""
        return not self._has_tests and not any(block.file for block in read_blocks(self.page))

    @property
    def may_fail(self) -> bool:
        """Whether the page shows tests that fail."""
        return re.search(r"\b\d+ failed\b", self.shown) is not None

    def missing(self, output: str) -> list[str]:
        """What the page shows of the output, and is not in it."""
        lines = [line.strip() for line in self.shown.splitlines()]
        patterns = {line: ".*".join(map(re.escape, line.split("..."))) for line in lines if line}
        return [line for line, pattern in patterns.items() if not re.search(pattern, output)]


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page that can be run, in their order."""
    found = list(_BLOCK.finditer(page.read_text("utf-8")))
    blocks = []
    shown_at = {match.start(): match[2] for match in found if match[1] == "text"}
    for match in found:
        shown = shown_at.get(match.end() + 2, "")  # after an empty line
        if match[1] in ("python", "sh"):
            blocks.append((match[1], match[2], shown))
    return [Block(page, number, *block) for number, block in enumerate(blocks)]


def _script(body: str) -> str:
    lines = []
    for line in body.splitlines():
        if _INSTALLS.match(line):
            continue
        lines.append(line)
        if line.endswith("&"):
            lines.append("trap 'kill $! 2>/dev/null || true' EXIT")
            sockets = re.findall(r"unix:([^\s,]+)", line)
            lines += [f"while ! [ -S {path} ]; do sleep 0.02; done" for path in sockets]
    return "\n".join(lines) + "\n"
