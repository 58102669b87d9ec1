"""``-hda``, ``-cdrom``, ``-pflash`` and their like, and a disk image without any option."""

from __future__ import annotations

from typing import Final

from qmpd.cli.system.qemu_options import DISK_IMAGE
from qmpd.options import groups
from qmpd.options.qemu_opts import Opts

DRIVES: Final = {
    "hda": ("", 0, "disk"),
    "hdb": ("", 1, "disk"),
    "hdc": ("", 2, "disk"),
    "hdd": ("", 3, "disk"),
    "cdrom": ("", 2, "cdrom"),
    "fda": ("floppy", 0, None),
    "fdb": ("floppy", 1, None),
    "mtdblock": ("mtd", None, None),
    "sd": ("sd", None, None),
    "pflash": ("pflash", None, None),
    DISK_IMAGE: ("", 0, "disk"),
}
"""Options that are short for ``-drive``, with the if, index and media that they stand for."""


def drive_opts(name: str, path: str) -> Opts:
    """The ``-drive`` that an option of `DRIVES` is short for."""
    interface, index, media = DRIVES[name]
    opts = Opts(groups.DRIVE)
    if interface:
        opts.set("if", interface)
    if index is not None:
        opts.set("index", str(index))
    opts.set("file", path)
    if media is not None:
        opts.set("media", media)
    return opts
