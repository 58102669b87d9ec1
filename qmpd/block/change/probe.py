"""What a file name means, and what format a file has when nobody says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.nbd_name import PROTOCOLS, nbd_options
from qmpd.block.model.driver_table import DRIVERS
from qmpd.block.model.filename import filename
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.model.node import Node

_WARNING: Final = (
    "WARNING: Image format was not specified for '{}' and probing guessed raw.\n"
    "         Automatically detecting the format is dangerous for raw images, write operations on"
    " block 0 will be restricted.\n"
    "         Specify the 'raw' format explicitly to remove the restrictions."
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


def probe(head: bytes) -> str:
    """The format of a file whose format nobody names.

    :param head: its first `PROBE_SIZE` bytes, or all of it
    """
    return next((driver for pattern, driver in PROBES if pattern.match(head)), "raw")


async def probe_node(file: Node) -> str:
    """The format of the image in `file`."""
    return probe(await file.pread(0, min(PROBE_SIZE, file.length)))


def warn_of_guess(node: Node) -> None:
    """Warn of a node that may be written to and whose format is raw because it is no other."""
    if node.probed and node.driver.format_name == "raw" and not node.read_only:
        node.services.say.report(_WARNING.format(filename(node.children["file"].node)))


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
        return undotted(options)
    if has_protocol(name):
        protocol, _, rest = name.partition(":")
        if protocol == "blkdebug":
            config, _, image = rest.partition(":")
            inner = protocol_options(image)
            return {"driver": "blkdebug", "image": inner} | ({"config": config} if config else {})
        if protocol == "null-co" or protocol == "null-aio":
            return {"driver": protocol}
        if protocol in PROTOCOLS:
            return nbd_options(name)
        if protocol != "file":
            raise GenericError(f"Unknown protocol '{protocol}'")
        name = rest
    return {"driver": "file", "filename": name}


def undotted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose names may be dotted, with what these mean inside of each other."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        *outer, last = name.split(".")
        place = found
        for part in outer:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise GenericError(f"Cannot mix scalar and non-scalar keys: '{name}'")
            place = inner
        place[last] = undotted(value) if isinstance(value, Mapping) else value
    return found


def find_format(name: str) -> None:
    """Whether images may be made in a format of this name.

    :raises GenericError: there is none
    """
    if name not in DRIVERS:
        raise GenericError(f"Unknown file format '{name}'")
