"""What QEMU 10.0.2's boards and device models look like in its object model, as data.

`schema/qom-objects.json` holds the objects of machines as they start, and of device models
as they are plugged in: paths, types, properties in their order, values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from qmpd.qapi.shipped import schema_path


class RecordedObject(NamedTuple):
    """One object: its path (of a device's parts: below the device), and what is known of it.

    ``{id}`` in paths and names stands for the device's id, ``{self}`` in values for its path.
    """

    path: str
    qom_type: str
    listing: Sequence[tuple[str, str]]
    values: Mapping[str, Any]


class RecordedBoard(NamedTuple):
    """The objects of a machine as it starts, parents first, and the devices on each bus."""

    objects: Sequence[RecordedObject]
    buses: Mapping[str, Sequence[str]]


@cache
def _data() -> dict[str, Any]:
    text = schema_path().with_name("qom-objects.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def _rows(rows: Sequence[Sequence[Any]]) -> list[RecordedObject]:
    data = _data()
    return [
        RecordedObject(
            path,
            qom_type,
            [(name, kind) for name, kind in data["listings"][listing]],
            data["values"][values],
        )
        for path, qom_type, listing, values in rows
    ]


@cache
def recorded_device(qom_type: str) -> Sequence[RecordedObject] | None:
    """The parts of a device of this model, itself first; None where qmpd has not got it."""
    rows = _data()["devices"].get(qom_type)
    return None if rows is None else _rows(rows)


def recorded_board(family: str, variant: str) -> RecordedBoard:
    """A machine as it starts.

    :param family: pc, q35 or none
    :param variant: ``nodefaults`` or ``defaults``, and ``-usb`` behind it for a machine with USB
    """
    board = _data()["boards"][family][variant]
    return RecordedBoard(_rows(board["objects"]), board["buses"])
