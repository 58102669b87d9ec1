"""``docs/clients.md`` is true: its blocks are run in their order, beside a private libvirtd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients.libvirt.daemon import Libvirtd
from tests.support.pages import ROOT, read_blocks


def test_the_page_about_clients(libvirtd: Libvirtd, place: Path) -> None:
    for program in ("virtnbdbackup", "nbdinfo"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        for block in read_blocks(ROOT / "docs" / "clients.md"):
            done = subprocess.run(
                [*libvirtd.inside, "sh", "-euc", f"cd {place}\n{block.body}"],
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=120,
            )
            output = done.stdout + done.stderr
            assert done.returncode == 0, output
            assert block.missing(output) == [], output
    finally:
        # the machine that the page starts as a daemon, whose file goes when it ends
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((place / "pid").read_text()), signal.SIGKILL)
        libvirtd.virsh("destroy demo; undefine demo --checkpoints-metadata", place)
        libvirtd.requests()
