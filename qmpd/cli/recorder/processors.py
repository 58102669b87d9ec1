"""What a processor of each model is in a machine: one machine is started for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from qmpd.cli.recorder.emulator import Emulator, Gone, Refused
from qmpd.cli.recorder.tables import REFERENCE
from qmpd.profile.recorded.coding import as_inserted, difference
from qmpd.profile.recorded.cpus import WORDS

_PATH: Final = "/machine/unattached/device[0]"

Start = Callable[[str], Emulator]
"""Starts a PC with a processor of this model."""


def processors(start: Start, models: list[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Properties of processors, and their values.

    :param models: all models; those that do not start are left out
    :param say: told the name of each
    """
    entries, values, errors = _look_at(start, REFERENCE)
    words = {name: [dict(word) for word in values[name]] for name in WORDS}
    for name in WORDS:
        for word in words[name]:
            del word["features"]
    reference = _with_numbers(values)
    table: dict[str, Any] = {"entries": entries, "values": reference, "errors": errors}
    table |= {"words": words, "models": {}}
    for model in models:
        say(model)
        try:
            theirs, values, _ = _look_at(start, model)
        except Gone:
            continue
        found: dict[str, Any] = {"values": difference(_with_numbers(values), reference)}
        if theirs != entries:
            found["entries"] = theirs
        table["models"][model] = found
    return table


def _with_numbers(values: dict[str, Any]) -> dict[str, Any]:
    short = {name: [word["features"] for word in values[name]] for name in WORDS}
    return {**values, **short}


def _look_at(start: Start, model: str) -> tuple[list[list[str]], dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    with start(model) as emulator:
        listed = emulator.ask("qom-list", path=_PATH)
        for entry in listed:
            name = entry["name"]
            try:
                values[name] = as_inserted(emulator.ask("qom-get", path=_PATH, property=name))
            except Refused as refused:
                errors[name] = str(refused)
    kind = values["type"]
    errors = {name: text.replace(kind, "{type}") for name, text in errors.items()}
    return [[entry["name"], entry["type"]] for entry in listed], values, errors
