"""What ``help`` lists, option by option of the system emulator."""

from __future__ import annotations

from qmpd.cli.system import probe_lists
from qmpd.profile import Personality, Profile


def recorded_help(profile: Profile, name: str) -> str:
    """What the real program prints: ``-chardev help``, ``-drive format=help``, ..."""
    text: str = profile.recorded(Personality.SYSTEM).helps[name]
    return text


def accelerators(profile: Profile) -> str:
    """``-accel help``."""
    return probe_lists.listing(profile, "accel")


def machines(profile: Profile) -> str:
    """``-machine help``."""
    return probe_lists.listing(profile, "machine")


def machine_properties(profile: Profile, name: str) -> str:
    """``-machine NAME,help``."""
    return probe_lists.machine_help(profile, name)


def cpus(profile: Profile) -> str:
    """``-cpu help``."""
    return probe_lists.listing(profile, "cpu")


def displays(profile: Profile) -> str:
    """``-display help``: qmpd has no display."""
    title, _, more = recorded_help(profile, "display").partition("\n")
    _, blank, words = more.partition("\n\n")
    return f"{title}\nnone\n{blank[1:]}{words}"


def vga_names(profile: Profile) -> list[str]:
    """The display adapters that ``-vga help`` lists."""
    return [line.split()[0] for line in recorded_help(profile, "vga").splitlines()]


def vgas(profile: Profile, machine: str) -> str:
    """``-vga help`` of a machine type."""
    lines = recorded_help(profile, "vga").replace(" (default)", "").splitlines()
    # what machines without one of their own would have
    default = "std" if machine.startswith("pc-") else "cirrus"
    more = (" (default)" if line.split()[0] == default else "" for line in lines)
    return "".join(f"{line}{word}\n" for line, word in zip(lines, more, strict=True))


def audio_drivers() -> str:
    """``-audiodev help``: qmpd has no sound."""
    return "Available audio drivers:\nnone\n"
