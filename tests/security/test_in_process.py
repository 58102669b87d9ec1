"""With images in memory nothing of the host's files is read, changed, or told.

Every command that takes a file name gets that of a file that is there, and that of one that is
not: it has to say the same of both, and both have to stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qmpd.block.images import OverlayStorage, Storage
from qmpd.errors import QmpError
from tests.security.named import named
from tests.support.machines import TestMachine

SECRET = b"a secret" * 64


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The paths of a file and of nothing, of one length."""
    there, nothing = tmp_path / "there", tmp_path / "nope!"
    there.write_bytes(SECRET)
    yield there, nothing
    assert there.read_bytes() == SECRET
    assert sorted(tmp_path.iterdir()) == [there]


@pytest.fixture(scope="module")
def touched() -> Iterator[list[Any]]:
    """The names that Python has been asked to open, rename, remove, bind or connect to."""
    names: list[Any] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        # a hook stays for as long as the process: that of a test that is over does nothing
        if watching and event.startswith(("open", "os.", "socket.")):
            names.extend(each for each in arguments if isinstance(each, str | bytes))

    sys.addaudithook(watch)
    yield names
    watching = False


def _machine(storage: Storage | None = None) -> TestMachine:
    machine = TestMachine(storage)
    options = {"driver": "file", "filename": "image", "size": 65536}
    machine.execute("blockdev-create", job_id="c", options=options)
    machine.clock.settle()
    machine.execute("job-dismiss", id="c")
    machine.execute("blockdev-add", driver="file", node_name="mem", filename="image")
    machine.execute("blockdev-add", driver="raw", node_name="disk", file="mem")
    return machine


def _answer(machine: TestMachine, name: Path, number: int) -> str:
    command, arguments = named(str(name))[number]
    try:
        answer = machine.execute(command, **arguments)
    except QmpError as error:
        answer = f"{error.error_class}: {error.desc}"
    machine.clock.settle()
    said = (answer, machine.events, machine.printed, machine.complaints)
    return repr(said).replace(str(name), "NAME")


@pytest.mark.parametrize("number", range(len(named(""))))
def test_files_of_the_host_do_not_exist(host: tuple[Path, Path], number: int) -> None:
    answers = [_answer(_machine(), name, number) for name in host]

    assert answers[0] == answers[1]


@pytest.mark.parametrize("number", range(len(named(""))))
def test_nothing_is_opened(touched: list[Any], host: tuple[Path, Path], number: int) -> None:
    """Python tells of every file that is opened, renamed, removed, bound or connected to."""
    machine = _machine()
    touched.clear()

    _answer(machine, host[0], number)

    assert not [each for each in touched if str(host[0]) in str(each)]


def test_a_pattern_comes_from_a_file_in_memory() -> None:
    machine = _machine()
    machine.hmp('qemu-io disk "write -P 7 0 512"')

    machine.hmp('qemu-io disk "write -s image 1024 1024"')

    machine.printed.clear()
    machine.hmp('qemu-io disk "read -P 7 1024 512"')
    assert "failed" not in "".join(machine.printed)


def test_over_the_hosts_files_nothing_is_changed(host: tuple[Path, Path]) -> None:
    there, _ = host
    machine = _machine(OverlayStorage())
    for number in range(len(named(""))):
        _answer(machine, there, number)
    machine.execute("blockdev-add", driver="file", node_name="host", filename=str(there))

    machine.hmp('qemu-io host "write -P 7 0 512"')
    machine.clock.run(machine.machine.close())
