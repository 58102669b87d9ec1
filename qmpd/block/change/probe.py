"""What a file name means, and what format a file has when nobody says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qmpd.block.model.driver_table import DRIVERS
from qmpd.block.model.filename import filename
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

_WARNING: Final = (
    "WARNING: Image format was not specified for '{}' and probing guessed raw.\n"
    "         Automatically detecting the format is dangerous for raw images, write operations on"
    " block 0 will be restricted.\n"
    "         Specify the 'raw' format explicitly to remove the restrictions.\n"
)

PROBE_SIZE: Final = 512
"""How many bytes at the start of a file tell its format."""

PROBES: Final[tuple[tuple[re.Pattern[bytes], str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), driver)
    for pattern, driver in (
        (rb"QFI\xfb\0\0\0\x01", "qcow"),
        (rb"QFI\xfb(?!\0\0\0\0)", "qcow2"),
        (rb"QED\0", "qed"),
        (rb"KDMV|COWD", "vmdk"),
        (rb"(?:#[^\n]*\n| +\r?\n)*version=[123]\r?\n", "vmdk"),
        (rb"vhdxfile", "vhdx"),
        (rb"conectix", "vpc"),
        (rb"LUKS\xba\xbe\0\x01", "luks"),
        (rb".{64}\x7f\x10\xda\xbe", "vdi"),
        (rb"(?:WithoutFreeSpace|WithouFreSpacExt)\x02\0\0\0", "parallels"),
        (
            rb"Bochs Virtual HD Image\0.{9}Redolog\0.{8}Growing\0.{8}\0\0[\x01\x02]\0",
            "bochs",
        ),
        (
            rb"#!/bin/sh\n#V2\.0 Format\nmodprobe cloop file=\$0 && mount -r -t iso9660"
            rb" /dev/cloop \$1\n",
            "cloop",
        ),
    )
)
"""How a file of each format begins; what begins like none is raw."""

DMG: Final = ".dmg"
"""How the name of a file ends that has its header elsewhere."""

_LESS_THAN_A_NAME: Final = frozenset({"raw", "cloop"})
"""What is told by less than such a name is (`bdrv_probe_all` weighs it)."""


def probe(head: bytes) -> str:
    """The format of a file whose format nobody names.

    :param head: its first `PROBE_SIZE` bytes, or all of it
    """
    return next((driver for pattern, driver in PROBES if pattern.match(head)), "raw")


async def probe_node(file: Node) -> str:
    """The format of the image in `file`: of what it holds, or of its name where that says more."""
    found = probe(await file.pread(0, min(PROBE_SIZE, file.length)))
    if found in _LESS_THAN_A_NAME and file.length and filename(file).endswith(DMG):
        return "dmg"
    return found


def warn_of_guess(node: Node) -> None:
    """Warn of a raw node that may be written to, if it is raw because it is nothing else."""
    if node.probed and not node.read_only:
        node.services.say.complain(_WARNING.format(filename(node.children["file"].node)))


def find_format(name: str) -> None:
    """Whether images may be made in a format of this name.

    :raises GenericError: there is none
    """
    if name not in DRIVERS:
        raise GenericError(f"Unknown file format '{name}'")
