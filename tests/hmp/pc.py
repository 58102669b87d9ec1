"""A PC with two drives, qmpd's and QEMU's side by side, and what their human monitors say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.block.files import Files
from tests.drivers.pair import SIDES
from tests.support.programs import qemu_missing


def start_both(scratch: Path, images: tuple[str, ...], *options: str) -> Files:
    """Start both programs, each in a directory with images of its own.

    :param images: arguments of ``qemu-img create``; ``d`` is that of the drive d
    :param options: further ones of the command line
    """
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    for side in SIDES:
        (scratch / side).mkdir()
        for image in images:
            make = ["qemu-img", "create", "-q", *image.split()]
            subprocess.run(make, cwd=scratch / side, check=True)
    return Files(
        scratch,
        *("-machine", "pc", "-S", "-device", "virtio-scsi-pci"),
        *("-drive", "if=none,id=d,file=d,format=qcow2"),
        *("-drive", "if=none,id=cd", "-device", "scsi-cd,drive=cd"),
        *options,
    )


def ask_both(both: Files, line: str) -> tuple[Any, Any]:
    """What QEMU answers to a line, and what qmpd does."""
    request = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
    return both.real.execute(request)[-1], both.ours.execute(request)[-1]
