"""What ``help`` lists, option by option of the system emulator."""

from __future__ import annotations

from typing import Final

from qmpd.cli.system import probe_lists
from qmpd.machine.chardevs import BACKENDS
from qmpd.profile import Personality, Profile

FORMATS: Final = (
    "blkdebug blklogwrites blkreplay blkverify bochs cloop compress copy-before-write copy-on-read"
    " dmg file ftp ftps gluster host_cdrom host_device http https iscsi iser luks nbd nfs null-aio"
    " null-co nvme parallels preallocate qcow qcow2 qed quorum raw rbd replication snapshot-access"
    " ssh throttle vdi vhdx vmdk vpc vvfat"
)
"""Block drivers, as ``-drive format=help`` lists them."""

VGAS: Final = (
    ("none", "no graphic card"),
    ("std", "standard VGA (default)"),
    ("cirrus", "Cirrus VGA"),
    ("vmware", "VMWare SVGA"),
    ("virtio", "Virtio VGA"),
)


def formats() -> str:
    """``-drive format=help``."""
    return f"Supported formats: {FORMATS}\nSupported formats (read-only): {FORMATS}\n"


def chardevs() -> str:
    """``-chardev help``."""
    names = "".join(f"\n  {name}" for name in BACKENDS[Personality.SYSTEM])
    return f"Available chardev backend types: {names}\n"


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


def displays() -> str:
    """``-display help``: qmpd has no display."""
    return "Available display backend types:\nnone\n"


def vgas() -> str:
    """``-vga help``."""
    return "".join(f"{name:<20} {text}\n" for name, text in VGAS)


def audio_drivers() -> str:
    """``-audiodev help``: qmpd has no sound."""
    return "Available audio drivers:\nnone\n"
