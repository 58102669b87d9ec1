"""What a test wants of its machines: the arguments of its marker, or its case's attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from qmpd.profile.shipped import VERSIONS

MACHINE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "disks": 'sizes of new disks in memory, by name (default: {"disk0": "64M"})',
        "images": "disks on images, by name",
        "storage": 'where images live: "memory", "overlay" or "host"',
        "allow_write": "files and directories where images may be written",
        "allow_read": "files and directories that may be read",
        "allow_sockets": "directories where sockets may be",
        "memory_limit": "how much images in memory may take in all",
        "version": "the version of QEMU to be",
        "clock": 'how time passes: "virtual", "held" or "real"',
        "seed": "a number that makes the run repeatable",
        "personality": '"system" or "storage-daemon"',
        "board": '"pc", "q35" or "none"',
        "paused": "whether the guest waits for cont",
        "power": "whether images keep the order of writes, for power_loss",
    }
)
"""The arguments that `qmpd.Machine` gets, too."""

ARGUMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **MACHINE,
        "versions": 'run the test on each of these versions: ["5.2", "11.1"], or "all"',
        "schedules": "run the test under so many orders of events",
        "allow": 'what may be left in the end: "open", "jobs", "faults", or several of them',
    }
)
"""All arguments, and what they mean."""

SEVERAL: Final = ("versions", "schedules")
"""Those that run a test several times, which only pytest does."""

LEAKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "open": "a machine that the test has made and has not closed",
        "jobs": "a job that is not finished, or not dismissed",
        "faults": "a fault that was installed and has never struck",
    }
)
"""What must not be left, by the words that allow it."""

DEFAULT_DISKS: Final = MappingProxyType({"disk0": "64M"})
"""The disks of a test that does not say."""


class WishError(ValueError):
    """A marker or a test case that asks for what there is not; it names what there is."""


def check(wishes: Mapping[str, Any], whose: str = "marker qmpd") -> None:
    """Check the names of the arguments, and the values of those that are not a machine's.

    :raises WishError: something is wrong
    """
    for name in wishes:
        if name not in ARGUMENTS:
            raise WishError(f"{whose}: there is no argument {name!r}; it takes {_list(ARGUMENTS)}")
    schedules = wishes.get("schedules", 1)
    if not _is_number(schedules) or schedules < 1:
        raise WishError(f"{whose}: schedules is how many, at least 1, not {schedules!r}")
    seed = wishes.get("seed")
    if seed is not None and not _is_number(seed):
        raise WishError(f"{whose}: seed is a whole number, not {seed!r}")
    for version in wanted_versions(wishes):
        if version not in VERSIONS:
            raise WishError(f"{whose}: versions takes {_list(VERSIONS)}, not {version!r}")
    for word in allowed(wishes):
        if word not in LEAKS:
            raise WishError(f"{whose}: allow takes {_list(LEAKS)}, not {word!r}")


def wanted_versions(wishes: Mapping[str, Any]) -> tuple[Any, ...]:
    """The versions of ``versions``; none where it is not given."""
    versions = wishes.get("versions", ())
    if versions == "all":
        return VERSIONS
    return (versions,) if isinstance(versions, str) else tuple(versions)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def allowed(wishes: Mapping[str, Any]) -> tuple[Any, ...]:
    """The words of ``allow``."""
    words = wishes.get("allow", ())
    return (words,) if isinstance(words, str) else tuple(words)


def machine_arguments(wishes: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `qmpd.Machine`.

    :param more: those of one machine, which come before what the test wants of all
    """
    arguments = {name: value for name, value in wishes.items() if name in MACHINE}
    arguments.update(more)
    if "disks" not in arguments and "images" not in arguments:
        arguments["disks"] = dict(DEFAULT_DISKS)
    return arguments
