"""The real QEMUs of several versions, where they are installed, and qmpd's programs as the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from qmpd.profile.shipped import DEFAULT
from qmpd.testing.real import find_qemu
from tests.support.programs import qemu_missing, qmpd_argv

MEASURED = ("5.2", "7.2", "10.0", "11.1")
"""The versions that are compared with a real program."""

SYSTEM = "qemu-system-x86_64"
DAEMON = "qemu-storage-daemon"
WITH_MONITOR = {
    SYSTEM: ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"],
    DAEMON: ["--chardev", "stdio,id=monitor", "--monitor", "monitor"],
}
"""Options of both programs that serve QMP on standard input and output, and nothing else."""

OTHERS = tuple(version for version in MEASURED if version != DEFAULT)

on_each_version = pytest.mark.parametrize("pair", [DEFAULT, *OTHERS], indirect=True)
"""For tests that ask a fixture `pair` of programs: once as each version."""

on_each_program = pytest.mark.parametrize(
    "pair", [*(DEFAULT, *OTHERS), *(f"{DAEMON}-{version}" for version in MEASURED)], indirect=True
)
"""The same, and as each version of the storage daemon, too."""


def by_turns(name: str, cases: Mapping[str, str]) -> pytest.MarkDecorator:
    """For tests of many cases: `name` is one of them, ``version`` a version.

    Every case comes on each version in the long run; the short one takes the versions in turn.

    :param cases: by what they are called
    """
    cells = [
        pytest.param(
            case,
            version,
            id=f"{called}-{version}",
            marks=() if number % len(MEASURED) == place else pytest.mark.long,
        )
        for number, (called, case) in enumerate(cases.items())
        for place, version in enumerate(MEASURED)
    ]
    return pytest.mark.parametrize((name, "version"), cells)


def real_argv(version: str, argv: list[str]) -> list[str]:
    """`argv` of one of QEMU's programs with that of a version in its place.

    The default version is the one on the PATH. The test is skipped where there is none.
    """
    if version == DEFAULT:
        if qemu_missing() is not None:
            pytest.skip(str(qemu_missing()))
        return argv
    found = find_qemu(version)
    if found is None:
        pytest.skip(f"QEMU {version} is not installed")
    return [str(Path(found).parent / argv[0]), *argv[1:]]


def qmpd_argv_as(version: str, argv: list[str]) -> list[str]:
    """`argv` of one of QEMU's programs with qmpd's in its place, which is that version."""
    module = {
        SYSTEM: "qmpd.cli.system.main",
        DAEMON: "qmpd.cli.storage_daemon.main",
    }[argv[0]]
    code = (
        "import sys; from importlib import import_module;"
        f"sys.argv[0] = '{argv[0]}-{version}';"
        f"from qmpd.cli.process import finish; finish(import_module('{module}').main())"
    )
    return [sys.executable, "-I", "-c", code, *argv[1:]]


def both_argv(version: str, argv: list[str]) -> tuple[list[str], list[str]]:
    """`argv` of one of QEMU's programs as the real one of a version, and as qmpd's.

    The test is skipped where that version is not installed.
    """
    ours = qmpd_argv(argv) if version == DEFAULT else qmpd_argv_as(version, argv)
    return real_argv(version, argv), ours


def examples(
    version: str, usual: int, variable: str = "QMPD_VERSION_EXAMPLES", *, few: int | None = None
) -> int:
    """How many examples a machine plays on a version.

    :param usual: how many it plays on the default version; on the others it is a quarter
    :param variable: what says in the environment how many it is on each version
    :param few: how many it is on the others, where that is not a quarter
    """
    asked = os.environ.get(variable)
    if asked is not None:
        return int(asked)
    if version == DEFAULT:
        return usual
    return max(1, usual // 4) if few is None else few
