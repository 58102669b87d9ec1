"""From the arguments of `qmpd.Machine` to a machine."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, TypeVar

from qmpd.block.images import (
    STORAGES,
    Access,
    HostFiles,
    MemoryStorage,
    Storage,
    access_of,
    new_storage,
)
from qmpd.block.images.access import Paths
from qmpd.block.images.room import Room
from qmpd.errors import GenericError
from qmpd.loop.clocks import Clocks
from qmpd.loop.paced_clock import Pace, PacedClock
from qmpd.machine.config import MachineConfig
from qmpd.machine.devices.board import Board
from qmpd.machine.disks import Disk, read_disk, read_image, read_image_keys, read_size
from qmpd.machine.host import Host
from qmpd.machine.machine import Machine
from qmpd.profile import Personality, Profile, load

T = TypeVar("T")

ClockName = Literal["virtual", "held", "real"]
StorageName = Literal["memory", "overlay", "host"]
PersonalityName = Literal["system", "storage-daemon"]
BoardName = Literal["none", "pc", "q35"]

Disks = Mapping[str, str | int]
"""Sizes by the disks' names, in bytes or as text with a suffix (``"64M"``)."""

Images = Mapping[str, str | Mapping[str, str | int | bool]]
"""Images by the disks' names: ``"PATH[,KEY=VALUE...]"``, or a mapping of ``path`` and keys."""

PERSONALITIES: Final = {
    "system": Personality.SYSTEM,
    "storage-daemon": Personality.STORAGE_DAEMON,
}

_PLAIN: Final = (
    *("version", "clock", "seed", "personality", "name", "uuid", "paused", "power", "board"),
    *("schedule", "incoming"),
)
"""Arguments that are plain values."""

_NO_POWER: Final = "power=True needs images in memory: storage is to be 'memory' or 'overlay'"

BOARDS: Final = {"none": "none", "pc": "pc-i440fx", "q35": "pc-q35"}
"""Boards, and the stems of the names of their machine types."""

_PACES: Final = {pace.value: pace for pace in Pace}

SEEDED_DATE: Final = 946_684_800 * 1_000_000_000
"""The date at which a seeded clock begins, nanoseconds since 1970: the first of January 2000."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a machine is made of; see `qmpd.Machine` for the meaning of each.

    :raises ValueError: a clock, storage, version or personality that there is not
    :raises GenericError: a disk or an image that is not described as it should be
    """

    disks: Disks = field(default_factory=dict)
    images: Images = field(default_factory=dict)
    storage: StorageName | Storage = "memory"
    version: str | Profile = "10.0"
    clock: ClockName = "virtual"
    seed: int | None = None
    personality: PersonalityName = "system"
    name: str | None = None
    uuid: str = "00000000-0000-0000-0000-000000000000"
    paused: bool = False
    power: bool = False
    board: BoardName = "none"
    schedule: int | None = None
    incoming: bool = False
    allow_write: Paths | None = None
    allow_read: Paths | None = None
    allow_sockets: Paths | None = None
    memory_limit: str | int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of `MachineConfig`, for tests of qmpd itself."""

    def describe(self) -> dict[str, Any]:
        """The arguments as JSON values; images in memory, wherever they are.

        :raises GenericError: they are not such values
        """
        if not isinstance(self.version, str) or self.more:
            raise GenericError("A machine of a version of one's own cannot be saved")
        return {
            "disks": dict(self.disks),
            "images": {
                name: image if isinstance(image, str) else dict(image)
                for name, image in self.images.items()
            },
            **{name: getattr(self, name) for name in _PLAIN},
        }

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> Setup:
        """The setup that `describe` has told of.

        :raises ValueError: a clock, version or personality that there is not
        """
        unknown = set(description) - {"disks", "images", *_PLAIN}
        if unknown:
            raise ValueError(f"there is no argument {sorted(unknown)[0]!r}")
        return cls(**description)

    def make_clock(self) -> PacedClock:
        """The machine's clock; it begins at a fixed date where there is a seed."""
        date = None if self.seed is None else SEEDED_DATE
        clock = PacedClock(_choose("clock", self.clock, _PACES), date)
        if self.schedule is not None:
            from qmpd.sim.schedule import Schedule

            clock.order = Schedule(self.schedule)
        return clock

    def make_storage(self) -> Storage:
        """Where images live: nothing is there yet, unless it was given with something in it."""
        if not isinstance(self.storage, str):
            if self.power:
                raise ValueError(_NO_POWER)
            if (self.allow_write, self.allow_read, self.allow_sockets) != (None, None, None):
                raise ValueError("what is allowed goes with a storage that is given by its name")
            if self.memory_limit is not None:
                raise ValueError("a memory limit goes with a storage that is given by its name")
            return self.storage
        _choose("storage", self.storage, STORAGES)
        access = access_of(self.storage, self.allow_write, self.allow_read, self.allow_sockets)
        limit = None if self.memory_limit is None else read_size(str(self.memory_limit))
        if self.power:
            return self._ordered_storage(access, limit)
        return new_storage(access, limit)

    def _ordered_storage(self, access: Access, limit: int | None) -> Storage:
        if access.mode == "host":
            raise ValueError(_NO_POWER)
        from qmpd.sim.power.storage import OrderedStorage

        over_host = access.mode == "overlay"
        return OrderedStorage(HostFiles(access), Room(limit), over_host=over_host)

    def make_machine(
        self, clock: PacedClock, host: Host, storage: Storage, random: Random
    ) -> Machine:
        """The machine, with no disks yet.

        :param host: the process that it lives in
        :param storage: where its images live
        :param random: where names that it makes up come from
        """
        profile = load(self.version) if isinstance(self.version, str) else self.version
        personality = _choose("personality", self.personality, PERSONALITIES)
        options: dict[str, Any] = {
            "profile": profile,
            "personality": personality,
            "name": self.name,
            "uuid": self.uuid,
            "paused": self.paused,
            "incoming": self.incoming,
            "cpus": 1,
        }
        model = _choose("board", self.board, BOARDS)
        if self.board != "none":
            version = f"{profile.version.major}.{profile.version.minor}"
            options["board"] = Board(self.board, f"{model}-{version}", cpus=1)
        config = MachineConfig(**{**options, **self.more})
        return Machine(
            Clocks.of(clock, has_guest=config.personality is Personality.SYSTEM),
            storage,
            config,
            host=host,
            random=random,
            thread_id=threading.get_native_id() if self.seed is None else 1,
        )

    @property
    def keeps_disks_apart(self) -> bool:
        """Whether disks in memory need a storage of their own."""
        return not (
            self.power or self.storage == "memory" or isinstance(self.storage, MemoryStorage)
        )

    def all_disks(self) -> list[Disk]:
        """The disks and the images, in their order."""
        disks = [read_disk(name, str(size)) for name, size in self.disks.items()]
        return disks + [_read_image(name, image) for name, image in self.images.items()]


def _read_image(name: str, image: str | Mapping[str, str | int | bool]) -> Disk:
    if isinstance(image, str):
        return read_image(image, name)
    keys = {key.replace("-", "_"): _text(value) for key, value in image.items()}
    path = keys.pop("path", None)
    if path is None:
        raise GenericError(f"image '{name}' has no path")
    if "read_only" in keys:
        keys["read-only"] = keys.pop("read_only")
    return read_image_keys(path, keys, name)


def _text(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _choose(what: str, word: str, choices: Mapping[str, T]) -> T:
    if word not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"there is no {what} {word!r}; it is one of {known}")
    return choices[word]
