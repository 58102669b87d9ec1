"""What a program shows of the machine types, models and accelerators that it knows."""

from __future__ import annotations

import re
import subprocess
from typing import Any, Final

OPTIONS: Final = ("machine", "cpu", "accel")
"""The options that are asked for help."""

HELPS: Final = (
    ("chardev", "-chardev", "help"),
    ("d", "-d", "help"),
    ("display", "-display", "help"),
    ("drive", "-drive", "format=help"),
    ("netdev", "-netdev", "help"),
    ("vga", "-vga", "help"),
)
"""What else prints help: a name for it, the option and its value."""

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


def helps(program: str) -> dict[str, Any]:
    """What other options print of what they take: whole texts."""
    bare = (program, "-machine", "none", "-display", "none")
    texts = {name: _printed(*bare, option, value) for name, option, value in HELPS}
    return {**texts, **_object_helps(*bare, "-object")}


def daemon_helps(program: str) -> dict[str, Any]:
    """The same of the storage daemon."""
    chardev = _printed(program, "--chardev", "help")
    return {"chardev": chardev, **_object_helps(program, "--object")}


def _object_helps(*words: str) -> dict[str, Any]:
    """What help of objects prints: `object` of all, `objects` of each type's properties.

    :param words: a program, and its option for objects
    """
    listed = _printed(*words, "help")
    names = [line.strip() for line in listed.splitlines()[1:]]
    return {"object": listed, "objects": {name: _printed(*words, f"{name},help") for name in names}}


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
        check=False,  # some end with status 1 after it
        text=True,
    )
    return run.stdout
