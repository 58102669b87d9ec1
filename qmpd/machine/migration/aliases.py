"""Names of nodes and bitmaps in a stream (``block-bitmap-mapping``, ``construct_alias_map``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


def by_name(mapping: Sequence[Mapping[str, Any]]) -> dict[str, NodeAlias]:
    """What is sent: aliases by the names on this machine.

    :param mapping: a list of BitmapMigrationNodeAlias
    :raises GenericError: a name is not allowed, or given twice
    """
    nodes: dict[str, NodeAlias] = {}
    for node in mapping:
        _check_node(node)
        name = node["node-name"]
        if name in nodes:
            raise GenericError(f"The node name '{name}' is mapped twice")
        bitmaps: dict[str, BitmapAlias] = {}
        for bitmap in node["bitmaps"]:
            _check_bitmap(bitmap)
            if bitmap["name"] in bitmaps:
                raise GenericError(f"The bitmap '{name}'/'{bitmap['name']}' is mapped twice")
            bitmaps[bitmap["name"]] = BitmapAlias(bitmap["alias"], _persistent(bitmap))
        nodes[name] = NodeAlias(node["alias"], bitmaps)
    return nodes


def by_alias(mapping: Sequence[Mapping[str, Any]]) -> dict[str, NodeAlias]:
    """What is taken in: names on this machine by their aliases; see `by_name`."""
    nodes: dict[str, NodeAlias] = {}
    for node in mapping:
        _check_node(node)
        alias = node["alias"]
        if alias in nodes:
            raise GenericError(f"The node alias '{alias}' is used twice")
        bitmaps: dict[str, BitmapAlias] = {}
        for bitmap in node["bitmaps"]:
            _check_bitmap(bitmap)
            if bitmap["alias"] in bitmaps:
                raise GenericError(f"The bitmap alias '{alias}'/'{bitmap['alias']}' is used twice")
            bitmaps[bitmap["alias"]] = BitmapAlias(bitmap["name"], _persistent(bitmap))
        nodes[alias] = NodeAlias(node["node-name"], bitmaps)
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
