"""What a program prints of the machine types, CPU models and accelerators that it knows."""

from __future__ import annotations

import subprocess
from typing import Any, Final

OPTIONS: Final = ("machine", "cpu", "accel")
"""The options that are asked for help."""

BOARDS: Final = ("pc", "q35", "none")
"""The machine types whose properties are asked for."""


def listings(program: str) -> dict[str, Any]:
    """What help of each option prints, by its name; `properties`: of machine types, by theirs."""
    return {
        **{option: _printed(program, f"-{option}", "help") for option in OPTIONS},
        "properties": {name: _printed(program, "-machine", f"{name},help") for name in BOARDS},
    }


def _printed(*words: str) -> str:
    run = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    return run.stdout
