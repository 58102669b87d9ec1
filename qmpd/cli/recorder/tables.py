"""What is asked of a machine without hardware: types, machines, options, CPU models."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

from qmpd.cli.recorder.emulator import Emulator, Refused
from qmpd.profile.recorded.coding import as_inserted, difference

Table = dict[str, Any]

REFERENCE: Final = "qemu64"
"""The CPU model that the others are written down beside."""

_OTHERWISE: Final = (
    ("static", "host", {"migratable": False}),
    ("full", "host", {"migratable": False, "hv-passthrough": True}),
    ("static", "max", {"migratable": False}),
    ("full", "max", {"migratable": False, "hv-passthrough": True}),
)
"""Expansions with properties that management programs ask for."""


def types(emulator: Emulator) -> Table:
    """QOM types and interfaces."""
    found = emulator.ask("qom-list-types", abstract=True)
    parents = {known["name"]: known.get("parent") for known in found}
    interfaces = [name for name in parents if _is_interface(name, parents)]
    return {
        "types": [
            [known["name"], known.get("parent"), known.get("abstract", False)] for known in found
        ],
        "interfaces": {
            name: [
                known["name"]
                for known in emulator.ask("qom-list-types", implements=name, abstract=True)
            ]
            for name in interfaces
        },
    }


def _is_interface(name: str | None, parents: dict[str, str | None]) -> bool:
    while name is not None and name != "interface":
        name = parents.get(name)
    return name is not None


def properties(emulator: Emulator) -> Table:
    """Properties of all QOM types; those that end the program are left out."""
    names = [known["name"] for known in emulator.ask("qom-list-types", abstract=True)]
    infos: dict[str, int] = {}
    lists: dict[tuple[int, ...], int] = {}
    tables: dict[str, dict[str, int]] = {"devices": {}, "types": {}}
    for table, command in (("devices", "device-list-properties"), ("types", "qom-list-properties")):
        for name in names:
            answer = emulator.ask_safely(command, typename=name)
            if answer is None and table == "types":
                # a type of a module is there once the device has been asked for
                emulator.ask_safely("device-list-properties", typename=name)
                answer = emulator.ask_safely(command, typename=name)
            if answer is None:
                continue
            numbers = tuple(infos.setdefault(json.dumps(info), len(infos)) for info in answer)
            tables[table][name] = lists.setdefault(numbers, len(lists))
    return {
        "infos": [as_inserted(json.loads(info)) for info in infos],
        "lists": [list(numbers) for numbers in lists],
        **tables,
    }


def machines(emulator: Emulator) -> Table:
    """Machine types; with what they make of devices, since QEMU 9.1 tells that."""
    found = emulator.ask_safely("query-machines", **{"compat-props": True})
    return {"machines": as_inserted(emulator.ask("query-machines") if found is None else found)}


def ancestors(emulator: Emulator, models: Iterable[str]) -> set[str]:
    """QOM types that `models` are, or are derived from."""
    known = {
        each["name"]: each.get("parent") for each in emulator.ask("qom-list-types", abstract=True)
    }
    found: set[str] = set()
    for model in models:
        name: str | None = model
        while name is not None:
            found.add(name)
            name = known.get(name)
    return found


def compat_of(machines: list[Table], wanted: Collection[str]) -> Table:
    """What machine types make of devices: all the different changes, and their numbers by type.

    :param wanted: the QOM types that count
    """
    numbers: dict[tuple[str, str, str], int] = {}
    found = {
        machine["name"]: [
            numbers.setdefault(
                (compat["qom-type"], compat["property"], compat["value"]), len(numbers)
            )
            for compat in machine.get("compat-props", ())
            if compat["qom-type"] in wanted
        ]
        for machine in machines
    }
    return {
        "changes": list(numbers),
        "machines": {name: each for name, each in found.items() if each},
    }


def processors_of(machines: list[Table]) -> dict[str, list[list[str]]]:
    """What machine types make of processors: QOM type, property and value, by machine type."""
    found = {
        machine["name"]: [
            [compat["qom-type"], compat["property"], compat["value"]]
            for compat in machine.get("compat-props", ())
            if compat["qom-type"].endswith("cpu")
        ]
        for machine in machines
    }
    return {name: compats for name, compats in found.items() if compats}


def options(emulator: Emulator) -> Table:
    """Groups of options."""
    return {"options": as_inserted(emulator.ask("query-command-line-options"))}


def trace(emulator: Emulator) -> Table:
    """Trace events: all names, and the states of those that are not just switched off."""
    found = emulator.ask("trace-event-get-state", name="*")[::-1]
    return {
        "events": [event["name"] for event in found],
        "otherwise": {
            event["name"]: event["state"] for event in found if event["state"] != "disabled"
        },
    }


def cpus(emulator: Emulator) -> Table:
    """CPU models."""
    definitions = emulator.ask("query-cpu-definitions")
    table: Table = {"definitions": as_inserted(definitions), "asked": []}
    references: dict[str, Table] = {}
    for kind in ("full", "static"):
        references[kind] = _expanded(emulator, kind, {"name": REFERENCE})["props"]
        models = {}
        for known in definitions:
            answer = _expanded(emulator, kind, {"name": known["name"]})
            models[known["name"]] = difference(answer["props"], references[kind])
        table[kind] = {"reference": references[kind], "models": models}
    for kind, name, props in _OTHERWISE:
        model = {"name": name, "props": props}
        try:
            answer = _expanded(emulator, kind, model)
        except Refused:
            # the properties are not those of all versions
            continue
        changes = difference(answer["props"], references[kind])
        table["asked"].append(
            {"type": kind, "model": model, "name": answer["name"], "answer": changes}
        )
    return table


def _expanded(emulator: Emulator, kind: str, model: Table) -> Table:
    answer = emulator.ask("query-cpu-model-expansion", type=kind, model=model)
    found: Table = as_inserted(answer["model"])
    return found
