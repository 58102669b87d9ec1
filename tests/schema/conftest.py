"""The definitions of the schema, and the real programs to compare them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.schema.reading import Definitions, read_definitions
from tests.support.stdio import StdioProgram
from tests.support.versions import MEASURED, real_argv

COMMAND_LINES = {
    "qemu-system-x86_64": ["-S", "-machine", "none", "-display", "none", "-qmp", "stdio"],
    "qemu-storage-daemon": ["--chardev", "stdio,id=monitor", "--monitor", "monitor"],
}


class RealProgram:
    """A running program of QEMU's, past the negotiation."""

    def __init__(self, argv: list[str], directory: Path) -> None:
        self._program = StdioProgram(argv, directory)
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


@pytest.fixture(scope="module", params=MEASURED)
def version(request: pytest.FixtureRequest) -> str:
    """A version of QEMU."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def definitions(version: str) -> Definitions:
    return read_definitions(version)


@pytest.fixture(scope="module")
def start(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProgram]:
    """Starts a real program of the version by its name, or skips the test where there is none."""
    running: dict[tuple[str, ...], RealProgram] = {}

    def start_program(name: str, *more_options: str) -> RealProgram:
        key = (name, *more_options)
        if key not in running:
            argv = real_argv(version, [name, *COMMAND_LINES[name], *more_options])
            running[key] = RealProgram(argv, tmp_path_factory.mktemp(name))
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
