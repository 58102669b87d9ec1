"""The npm package `qemu-qmp`, where it can be had."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

MANIFEST = Path(__file__).parents[2] / "examples" / "control" / "package.json"


def install_qemu_qmp(folder: Path) -> str | None:
    """Install the package below `folder`; returns why it is not there, None if it is."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node is not installed"
    shutil.copy(MANIFEST, folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(install, cwd=folder, capture_output=True, timeout=120, check=False)
    return "the npm package qemu-qmp cannot be had" if done.returncode else None
