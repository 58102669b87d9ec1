"""Names of nodes and bitmaps in a stream (``block-bitmap-mapping``, ``construct_alias_map``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from qmpd.base.identifiers import id_wellformed
from qmpd.block.bits.bitmap import MAXIMUM_NAME_BYTES
from qmpd.errors import GenericError

_LONGEST_ALIAS: Final = 255
_LONGEST_NODE_NAME: Final = 31


@dataclass(frozen=True, slots=True)
class BitmapAlias:
    """One bitmap under another name.

    :param name: the other name
    :param persistent: whether it is to be persistent; None: as it was
    """

    name: str
    persistent: bool | None


@dataclass(frozen=True, slots=True)
class NodeAlias:
    """One node under another name, with those of its bitmaps that are named.

    :param name: the other name
    :param bitmaps: its bitmaps by the name that they are looked up by
    """

    name: str
    bitmaps: Mapping[str, BitmapAlias]


class _Direction(NamedTuple):
    """By which names nodes and bitmaps are looked up, and what is told of one given twice."""

    node: str
    bitmap: str
    node_twice: str
    bitmap_twice: str
    other_node: str
    other_bitmap: str


_SENT: Final = _Direction(
    "node-name",
    "name",
    "The node name '{}' is mapped twice",
    "The bitmap '{}'/'{}' is mapped twice",
    "alias",
    "alias",
)
_TAKEN_IN: Final = _Direction(
    "alias",
    "alias",
    "The node alias '{}' is used twice",
    "The bitmap alias '{}'/'{}' is used twice",
    "node-name",
    "name",
)


def by_name(mapping: Sequence[Mapping[str, Any]]) -> dict[str, NodeAlias]:
    """What is sent: aliases by the names on this machine.

    :param mapping: a list of BitmapMigrationNodeAlias
    :raises GenericError: a name is not allowed, or given twice
    """
    return _directed(mapping, _SENT)


def by_alias(mapping: Sequence[Mapping[str, Any]]) -> dict[str, NodeAlias]:
    """What is taken in: names on this machine by their aliases; see `by_name`."""
    return _directed(mapping, _TAKEN_IN)


def _directed(mapping: Sequence[Mapping[str, Any]], direction: _Direction) -> dict[str, NodeAlias]:
    nodes: dict[str, NodeAlias] = {}
    for node in mapping:
        _check_node(node)
        name = node[direction.node]
        if name in nodes:
            raise GenericError(direction.node_twice.format(name))
        bitmaps: dict[str, BitmapAlias] = {}
        for bitmap in node["bitmaps"]:
            _check_bitmap(bitmap)
            key = bitmap[direction.bitmap]
            if key in bitmaps:
                raise GenericError(direction.bitmap_twice.format(name, key))
            bitmaps[key] = BitmapAlias(bitmap[direction.other_bitmap], _persistent(bitmap))
        nodes[name] = NodeAlias(node[direction.other_node], bitmaps)
    return nodes


def check(mapping: Sequence[Mapping[str, Any]]) -> None:
    """See that it can be used in both directions (``check_dirty_bitmap_mig_alias_map``).

    :raises GenericError: it cannot
    """
    by_name(mapping)
    by_alias(mapping)


def _check_node(node: Mapping[str, Any]) -> None:
    alias, name = node["alias"], node["node-name"]
    if not id_wellformed(alias):
        raise GenericError(f"The node alias '{alias}' is not well-formed")
    if len(alias) > _LONGEST_ALIAS:
        raise GenericError(f"The node alias '{alias}' is longer than {_LONGEST_ALIAS} bytes")
    if len(name.encode()) > _LONGEST_NODE_NAME:
        raise GenericError(f"The node name '{name}' is longer than {_LONGEST_NODE_NAME} bytes")


def _check_bitmap(bitmap: Mapping[str, Any]) -> None:
    alias, name = bitmap["alias"], bitmap["name"]
    if len(alias.encode()) > _LONGEST_ALIAS:
        raise GenericError(f"The bitmap alias '{alias}' is longer than {_LONGEST_ALIAS} bytes")
    if len(name.encode()) > MAXIMUM_NAME_BYTES:
        raise GenericError(f"The bitmap name '{name}' is longer than {MAXIMUM_NAME_BYTES} bytes")


def _persistent(bitmap: Mapping[str, Any]) -> bool | None:
    persistent: bool | None = bitmap.get("transform", {}).get("persistent")
    return persistent
