"""What a program shows of the machine types, models and accelerators that it knows."""

from __future__ import annotations

import re
import subprocess
from typing import Any, Final

OPTIONS: Final = ("machine", "cpu", "accel")
"""The options that are asked for help."""

BOARDS: Final = ("pc", "q35", "none")
"""The machine types whose properties are asked for."""

_GROUP: Final = re.compile(r"(.*) devices:\Z")
_MODEL: Final = re.compile(
    r'name "([^"]*)"(?:, bus ([^,]*))?(?:, alias "([^"]*)")?(?:, desc "(.*)")?(, no-user)?\Z'
)


def listings(program: str) -> dict[str, Any]:
    """What help of each option prints, by its name; `properties`: of machine types, by theirs."""
    return {
        **{option: _printed(program, f"-{option}", "help") for option in OPTIONS},
        "properties": {name: _printed(program, "-machine", f"{name},help") for name in BOARDS},
    }


def device_models(listed: str) -> dict[str, Any]:
    """Group, name, bus, alias and description of models, and whether only boards have it.

    :param listed: what ``info qdm`` shows
    """
    found = []
    group = ""
    for line in filter(None, listed.splitlines()):
        heading, model = _GROUP.match(line), _MODEL.match(line)
        if heading is not None:
            group = heading[1]
        elif model is not None:
            *texts, no_user = model.groups()
            found.append([group, *texts, no_user is not None])
        else:
            raise ValueError(f"a line about device models that is not known: {line}")
    return {"devices": found}


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
