"""Tables that are much alike, written down as one of them and what differs in the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qmpd.base.qdict import member_order


def as_inserted(value: Any) -> Any:
    """A value whose objects have their members in an order that encodes as the one they have.

    QEMU's dictionaries list what falls into the same bucket newest first.

    :param value: parsed JSON, as QEMU printed it
    """
    if isinstance(value, dict):
        return {name: as_inserted(value[name]) for name in member_order(tuple(value))}
    if isinstance(value, list):
        return [as_inserted(item) for item in value]
    return value


def difference(table: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """What `table` is beside `reference`; `patched` is the way back."""
    changed = {
        name: value
        for name, value in table.items()
        if name not in reference or not _same(reference[name], value)
    }
    if list(table) == list(reference):
        return {"changed": changed}
    return {"changed": changed, "order": list(table)}


def patched(reference: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The table whose difference from `reference` is `found`."""
    both = {**reference, **found["changed"]}
    return {name: both[name] for name in found.get("order", reference)}


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
