"""The class of a profile; the package says what one is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qmpd.version import __version__

if TYPE_CHECKING:
    from qmpd.profile.devices import DeviceTables
    from qmpd.profile.personality import Personality
    from qmpd.profile.recorded.store import Recorded
    from qmpd.profile.rules import Rules
    from qmpd.qapi.runtime.arguments import Reader
    from qmpd.qapi.runtime.entry_points import CommandInfo, EntryPoints
    from qmpd.qapi.runtime.type_table import TypeTable


class Version(NamedTuple):
    """A version of QEMU, as query-version and the greeting give it."""

    major: int
    minor: int
    micro: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"


class Program(NamedTuple):
    """What one of QEMU's programs knows.

    :param commands: those of its commands that the schema has, by name, in the order of its
        query-commands
    :param events: its events, in the order of its query-qmp-schema
    :param listed: commands and events in that order; empty: they come as in the schema
    :param unknown: names of its commands that the schema does not have
    """

    commands: Mapping[str, CommandInfo]
    events: tuple[str, ...]
    listed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class Texts(NamedTuple):
    """Texts for clients that have not been the same in all versions of QEMU.

    ``{name}`` stands for the command's name, ``{version}`` for that of QEMU.
    """

    command_not_found: str = "The command {name} has not been found"
    oob_not_supported: str = "The command {name} does not support OOB"
    not_in_preconfig: str = (
        "The command '{name}' is permitted only after machine initialization has completed"
    )
    not_a_value: str = "Parameter '{name}' does not accept value '{value}'"
    """Of a text that is no value of an enum; ``{value}`` stands for the text."""
    banner: str = "QEMU {version} monitor - type 'help' for more information"
    """First line of a human monitor."""


FORM: Final = "10.0"
"""The version in whose form handlers make replies and events."""

USUAL: Final = Texts()
"""The texts of a version that says nothing else."""


@dataclass(frozen=True, eq=False)
class Profile:
    """One version of QEMU as a value.

    Everything but these few fields is read from the profile's files when it is first asked
    for, and kept.  Two profiles are the same only if they are the same object.

    :param name: what it is loaded by, e.g. ``10.0``
    :param version: what query-version and the greeting say
    :param package: what they say where QEMU names its package
    :param texts: texts that differ between versions
    :param behaves_as: the version whose behaviour it has where the schema does not say; itself,
        where it was measured against the real programs
    :param beyond: commands that qmpd has in addition; they come last in query-commands
    :param directory: where its files are
    :param models: the package whose stub files declare the models of its types
    :param fallbacks: directories of other profiles, which have the device models and what was
        recorded where its own has not
    """

    name: str
    version: Version
    directory: str = field(repr=False)
    package: str = f"qmpd-{__version__}"
    texts: Texts = USUAL
    behaves_as: str = ""
    beyond: tuple[str, ...] = ()
    models: str = "qmpd.profile.models"
    fallbacks: tuple[str, ...] = ()

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> Profile:
        """The profile whose files are in `directory`.

        ``profile.json`` has `name` and `version` (three numbers), and may have `package`,
        `behaves_as`, `beyond` and `texts` (the fields of `Texts`).  ``types.json`` and
        ``entry-points.json`` are written by ``qmpd schema generate``.  For each personality,
        ``PERSONALITY.json`` has `commands` and `events` of the real program, in its order, and
        `schema` where its query-qmp-schema has them in another one than the schema.
        ``device-properties.json`` and what was recorded may be missing.

        :raises OSError: a file cannot be read
        """
        path = os.fspath(directory)
        data = _read(path, "profile.json")
        data["version"] = Version(*data["version"])
        data["texts"] = Texts(**data.get("texts", {}))
        data["beyond"] = tuple(data.get("beyond", ()))
        data.setdefault("behaves_as", data["name"])
        return cls(directory=path, **data)

    @property
    def trims_output(self) -> bool:
        """Whether values are made in the form of another version, which may have more members."""
        return self.name != FORM

    @property
    def measured(self) -> bool:
        """Whether it was measured against the real programs."""
        return self.behaves_as == self.name

    @property
    def machine_aliases(self) -> dict[str, str]:
        """The machine types that go by another name in each version; ``pc`` is the usual one."""
        release = f"{self.version.major}.{self.version.minor}"
        return {"pc": f"pc-i440fx-{release}", "q35": f"pc-q35-{release}"}

    @cached_property
    def rules(self) -> Rules:
        """Where it differs from the default version beyond its schema."""
        from qmpd.profile.rules import Rules

        version = self.behaves_as
        known = version if re.fullmatch(r"\d+\.\d+", version) else FORM
        major, minor = known.split(".")
        return Rules((int(major), int(minor)))

    @cached_property
    def parse_json(self) -> Callable[[str], object]:
        """Reads a text of JSON in QEMU's dialect, and knows its words for what is wrong with it."""
        if self._own_parse_json is not None:
            return self._own_parse_json
        from qmpd.wire.json_stream import parse_json

        return parse_json

    @cached_property
    def _own_parse_json(self) -> Callable[[str], object] | None:
        """The same; None: it is the usual one."""
        if not self.rules.holds("json-errors-have-places"):
            return None
        from qmpd.wire.json_places import parse_json_with_places

        return parse_json_with_places

    @cached_property
    def entry_points(self) -> EntryPoints:
        """All commands and events of its schema."""
        from qmpd.qapi.runtime.entry_points import EntryPoints

        return EntryPoints(_read(self.directory, "entry-points.json"))

    @cached_property
    def types(self) -> TypeTable:
        """All types of its schema."""
        from qmpd.qapi.runtime.type_table import TypeTable

        return TypeTable(_read(self.directory, "types.json"), self.texts.not_a_value)

    @cached_property
    def reader(self) -> Reader:
        """Reads values of these types, and knows QEMU's words for what is wrong with them."""
        from qmpd.qapi.runtime.arguments import Reader

        return Reader(self.types, self.models, self._own_parse_json)

    @cached_property
    def devices(self) -> DeviceTables:
        """Its device models."""
        from qmpd.profile.devices import DeviceTables
        from qmpd.profile.personality import Personality

        recorded = self.recorded(Personality.SYSTEM)
        return DeviceTables((self.directory, *self.fallbacks), recorded)

    @cached_property
    def _programs(self) -> dict[Personality, Program]:
        return {}

    @cached_property
    def _recorded(self) -> dict[Personality, Recorded]:
        return {}

    def recorded(self, personality: Personality) -> Recorded:
        """What the program that a machine passes for has answered about itself."""
        from qmpd.profile.recorded.store import Recorded

        found = self._recorded.get(personality)
        if found is None:
            directories = (self.directory, *self.fallbacks)
            found = self._recorded[personality] = Recorded(directories, personality)
        return found

    def program(self, personality: Personality) -> Program:
        """What the program that a machine passes for knows.

        :raises OSError: the profile does not have it
        """
        found = self._programs.get(personality)
        if found is None:
            data = _read(self.directory, f"{personality.value}.json")
            known = self.entry_points.commands
            names = (*data["commands"], *self.beyond)
            commands = MappingProxyType({name: known[name] for name in names if name in known})
            listed = (*data["schema"], *self.beyond) if "schema" in data else ()
            unknown = tuple(name for name in names if name not in known)
            found = Program(commands, tuple(data["events"]), listed, unknown)
            self._programs[personality] = found
        return found


def _read(directory: str, name: str) -> dict[str, Any]:
    with open(os.path.join(directory, name), "rb") as file:
        table: dict[str, Any] = json.load(file)
    return table
