"""Identifiers (ids of objects, jobs, exports and options), and names of nodes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from random import Random

MAXIMUM_LENGTH: Final = 31
"""Longest node name, bytes."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z", re.ASCII)


_HINT: Final = "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter."


def id_wellformed(name: str) -> bool:
    """Whether `name` is an identifier: a letter, then letters, digits, ``-``, ``.``, ``_``."""
    return _IDENTIFIER.match(name) is not None


def check_id(name: str) -> None:
    """Check that an id is an identifier.

    :raises GenericError: with QEMU's text and hint
    """
    if not id_wellformed(name):
        raise GenericError("Parameter 'id' expects an identifier", _HINT)


def check_device_id(name: str) -> None:
    """Check that the id of a device is an identifier (``qdev_set_id``).

    :raises GenericError: it is not
    """
    if not id_wellformed(name):
        raise GenericError(f"Invalid qdev ID '{name}'")


def check_node_name(name: str) -> None:
    """Check the name of a new node.

    :raises GenericError: it is malformed, or too long
    """
    if not id_wellformed(name):
        raise GenericError(f"Invalid node-name: '{name}'")
    if len(name) > MAXIMUM_LENGTH:
        raise GenericError("Node name too long")


class NameGenerator:
    """Makes ``#block`` names: a counter, then two random digits (QEMU's ``id_generate``).

    :param random: where the digits come from
    """

    def __init__(self, random: Random) -> None:
        self._counter = 0
        self._random = random

    def next(self) -> str:
        """A name that no node has had."""
        name = f"#block{self._counter}{self._random.randrange(100):02d}"
        self._counter += 1
        return name
