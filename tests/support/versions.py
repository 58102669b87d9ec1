"""The real QEMUs of several versions, where they are installed, and qmpd's programs as the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qmpd.profile.shipped import DEFAULT
from qmpd.testing.real import find_qemu
from tests.support.programs import qemu_missing

MEASURED = ("5.2", "7.2", "10.0", "11.1")
"""The versions that are compared with a real program."""

OTHERS = tuple(version for version in MEASURED if version != DEFAULT)


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
        "qemu-system-x86_64": "qmpd.cli.system.main",
        "qemu-storage-daemon": "qmpd.cli.storage_daemon.main",
    }[argv[0]]
    code = (
        "import sys; from importlib import import_module;"
        f"sys.argv[0] = '{argv[0]}-{version}';"
        f"from qmpd.cli.process import finish; finish(import_module('{module}').main())"
    )
    return [sys.executable, "-I", "-c", code, *argv[1:]]
