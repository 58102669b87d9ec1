"""The definitions of the schema, and the real programs to compare them with."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.schema.reading import Definitions, read_definitions
from tests.support.stdio import StdioProgram

VERSION = "10.0"
"""The version of QEMU that the schema describes."""

COMMAND_LINES = {
    "qemu-system-x86_64": ["-S", "-machine", "none", "-display", "none", "-qmp", "stdio"],
    "qemu-storage-daemon": ["--chardev", "stdio,id=monitor", "--monitor", "monitor"],
}


class RealProgram:
    """A running program of QEMU's, past the negotiation."""

    def __init__(self, name: str, options: list[str], directory: Path) -> None:
        self._program = StdioProgram([name, *options], directory)
        self._program.message()
        self.ask("qmp_capabilities")

    def request(self, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """The whole answer to a command."""
        request = {"execute": command} | ({} if arguments is None else {"arguments": arguments})
        answer: dict[str, Any] = self._program.execute(request)[-1]
        return answer

    def ask(self, command: str) -> Any:
        """What a command without arguments returns."""
        return self.request(command)["return"]

    def close(self) -> None:
        self._program.close()


StartProgram = Callable[..., RealProgram]


@pytest.fixture(scope="session")
def definitions() -> Definitions:
    return read_definitions()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProgram]:
    """Starts a real program by its name, or skips the test where there is none."""
    running: dict[tuple[str, ...], RealProgram] = {}

    def start_program(name: str, *more_options: str) -> RealProgram:
        key = (name, *more_options)
        if key not in running:
            reason = _missing(name)
            if reason is not None:
                pytest.skip(reason)
            options = [*COMMAND_LINES[name], *more_options]
            running[key] = RealProgram(name, options, tmp_path_factory.mktemp(name))
        return running[key]

    with _closing(running):
        yield start_program


@contextmanager
def _closing(running: dict[tuple[str, ...], RealProgram]) -> Iterator[None]:
    try:
        yield
    finally:
        for program in running.values():
            program.close()


def _missing(name: str) -> str | None:
    path = shutil.which(name)
    if path is None:
        return f"{name} is not installed"
    banner = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if re.search(rf"version {re.escape(VERSION)}\.", banner) is None:
        return f"needs {name} {VERSION}, found {banner.splitlines()[0]}"
    return None
