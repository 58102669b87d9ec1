"""CPU models: their definitions, what they are written out, and the processors of a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

from qmpd.errors import GenericError, NotServed
from qmpd.profile.recorded.coding import patched

WORDS: Final = ("feature-words", "filtered-features")
"""Properties of a processor that are lists of words of CPUID; only their numbers are recorded."""


class Processor:
    """A processor as it is in a machine.

    :param entries: its properties, name and type, in the order of qom-list
    :param values: what qom-get answers, by property
    :param errors: the texts of those that it refuses to read
    """

    def __init__(
        self, entries: list[tuple[str, str]], values: dict[str, Any], errors: dict[str, str]
    ) -> None:
        self.entries = entries
        self.values = values
        self.errors = errors


class CpuModels:
    """The CPU models of one program.

    ``cpus.json.gz`` has `definitions`, as query-cpu-definitions tells them; `full` and `static`:
    the properties of a reference model, and for all models what differs from it; `asked`, the
    answers to expansions with properties.  ``processors.json.gz`` has `entries`, `values` and
    `errors` of a reference model in a PC, and by model what differs from it; `compat`, what
    machine types make of processors.

    :param read: reads one of these tables, by its name
    """

    def __init__(self, read: Callable[[str], dict[str, Any]]) -> None:
        self._read = read

    @cached_property
    def _table(self) -> dict[str, Any]:
        return self._read("cpus")

    @cached_property
    def _processors(self) -> dict[str, Any]:
        return self._read("processors")

    @cached_property
    def definitions(self) -> list[dict[str, Any]]:
        """Command query-cpu-definitions."""
        found: list[dict[str, Any]] = self._table.get("definitions", [])
        return found

    @cached_property
    def type_names(self) -> Mapping[str, str]:
        """QOM types by the names of models."""
        return {known["name"]: known["typename"] for known in self.definitions}

    @cached_property
    def features(self) -> frozenset[str]:
        """The properties of processors that are features of theirs."""
        return frozenset(self._table["static"]["reference"])

    def expansion(
        self, kind: str, name: str, props: Mapping[str, Any] | None
    ) -> tuple[str, dict[str, Any]]:
        """Command query-cpu-model-expansion: the name of a model, and properties.

        :param kind: static or full
        :param props: properties that are to differ from the model's
        :raises GenericError: there is no such model
        :raises NotServed: nobody has asked the real program that
        """
        if name not in self.type_names:
            raise GenericError(f"CPU model '{name}' not found")
        for asked in self._table["asked"] if props else ():
            if asked["type"] == kind and asked["model"] == {"name": name, "props": props}:
                return asked["name"], self._patched(kind, asked["answer"])
        found = self._patched(kind, self._table[kind]["models"][name])
        base = "base" if kind == "static" else name
        if not props or all(found.get(key, object()) == value for key, value in props.items()):
            return base, found
        raise NotServed(f"CPU model '{name}' with other properties is not known to qmpd")

    def _patched(self, kind: str, found: dict[str, Any]) -> dict[str, Any]:
        return patched(self._table[kind]["reference"], found)

    def compat(self, machine: str) -> list[tuple[str, str, str]]:
        """What a machine type makes of processors: QOM type, property and value."""
        return [(kind, name, text) for kind, name, text in self._compats.get(machine, ())]

    @property
    def _compats(self) -> dict[str, list[list[str]]]:
        found: dict[str, list[list[str]]] = self._processors.get("compat", {})
        return found

    def processor(self, model: str) -> Processor:
        """A processor of this model in a machine.

        :raises NotServed: nobody has asked the real program for one
        """
        table = self._processors
        found = table.get("models", {}).get(model)
        if found is None:
            raise NotServed(f"The properties of processors '{model}' are not known to qmpd")
        values = patched(table["values"], found["values"])
        for name in WORDS:
            if name in values:
                words = zip(table["words"][name], values[name], strict=True)
                values[name] = [{**word, "features": features} for word, features in words]
        entries = found.get("entries", table["entries"])
        errors = {
            name: text.replace("{type}", values["type"]) for name, text in table["errors"].items()
        }
        return Processor([(name, kind) for name, kind in entries], values, errors)
