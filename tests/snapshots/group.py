"""Groups of snapshots that fail at some disk: which groups, where, and how."""

from __future__ import annotations

from typing import Any

GROUPS = [(size, place) for size in range(1, 6) for place in sorted({0, size // 2, size - 1})]
"""How many disks there are, and which of them fails: the first, a middle one, the last."""

FAILURES = {
    "create fails": "Could not create 'none/x.qcow2': No such file or directory",
    "open fails": "Could not open 'missing.qcow2': No such file or directory",
    "wrong format": "Image is not in qcow2 format",
    "busy": "Node 'd{0}' is busy: block device is in use by block job: backup",
    "unknown": "Cannot find device='nope' nor node-name=''",
}
"""How a disk of a transaction can fail, and what is said of disk 0."""


def actions(size: int, round_number: int) -> list[dict[str, Any]]:
    """A snapshot of every disk, each into a new file."""
    return [
        {"device": f"d{disk}", "snapshot-file": f"round{round_number}-{disk}.qcow2"}
        for disk in range(size)
    ]


def spoil(group: list[dict[str, Any]], place: int, failure: str) -> None:
    """Let one disk of a group fail; those after it would fail, too, but are not looked at."""
    spoilt = group[place]
    if failure == "create fails":
        spoilt["snapshot-file"] = "none/x.qcow2"
    elif failure == "open fails":
        spoilt |= {"snapshot-file": "missing.qcow2", "mode": "existing"}
    elif failure == "wrong format":
        spoilt |= {"snapshot-file": "text", "mode": "existing"}
    elif failure == "unknown":
        spoilt["device"] = "nope"
    for later in group[place + 1 :]:
        later["device"] = "later"
