"""What a file name means, and what format a file has when nobody says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.drivers import DRIVERS
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.node import Node

PROBES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"QFI\xfb\0\0\0\1", "qcow"),
    (0, b"QFI\xfb", "qcow2"),
    (0, b"QED\0", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
"""Offset and bytes that tell the format of a file whose format nobody names; else it is raw."""


def probe(head: bytes) -> str:
    """The format of a file that begins with `head`, 2048 bytes or less."""
    for offset, magic, driver in PROBES:
        if head[offset : offset + len(magic)] == magic:
            return driver
    return "raw"


async def probe_node(file: Node, name: str) -> str:
    """The format of an image nobody names one for; a guess of raw is warned of.

    :param name: the file name as it was given
    """
    found = probe(await file.pread(0, min(2048, file.length)))
    if found == "raw":
        file.graph.report(
            f"WARNING: Image format was not specified for '{name}' and probing guessed raw.\n"
            "         Automatically detecting the format is dangerous for raw images, write"
            " operations on block 0 will be restricted.\n"
            "         Specify the 'raw' format explicitly to remove the restrictions."
        )
    return found


def has_protocol(name: str) -> bool:
    """Whether a file name begins with a protocol (`nbd:`, `json:`) rather than a path."""
    head, separator, _ = name.partition(":")
    return bool(separator) and "/" not in head


def protocol_options(name: str) -> dict[str, Any]:
    """Options of the node that a file name means.

    :raises GenericError: the protocol is unknown, or the ``json:`` options are malformed
    """
    if name.startswith("json:"):
        try:
            options = json.loads(name[len("json:") :])
        except ValueError:
            raise GenericError("Could not parse the JSON options") from None
        if not isinstance(options, dict):
            raise GenericError("Invalid JSON object given")
        return options
    if has_protocol(name):
        protocol, _, rest = name.partition(":")
        if protocol == "blkdebug":
            config, _, image = rest.partition(":")
            inner = protocol_options(image)
            return {"driver": "blkdebug", "image": inner} | ({"config": config} if config else {})
        if protocol == "null-co" or protocol == "null-aio":
            return {"driver": protocol}
        if protocol != "file":
            raise GenericError(f"Unknown protocol '{protocol}'")
        name = rest
    return {"driver": "file", "filename": name}


def find_format(name: str) -> None:
    """Whether images may be made in a format of this name.

    :raises GenericError: there is none
    """
    if name not in DRIVERS:
        raise GenericError(f"Unknown file format '{name}'")
