"""Commands that only QEMU 5.2 has, and object-add as it was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.differential.pair import Pair

VERSION = "5.2"

PROPERTIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("iothread", "o", {}),
    ("iothread", "o", {}),
    ("iothread", "9x", {}),
    ("iothread", "a b", {}),
    ("iothread", "", {}),
    ("iothread", "a/b", {}),
    ("nosuch", "n", {}),
    ("device", "d", {}),
    ("container", "c", {}),
    ("secret", "s", {}),
    ("secret", "s", {"data": "x"}),
    ("secret", "s2", {"data": 5}),
    ("secret", "s3", {"data": "x", "foo": 1}),
    ("secret", "s4", {"data": "x", "format": "foo"}),
    ("throttle-group", "g", {"limits": {"iops-total": 5}}),
    ("throttle-group", "g2", {"x-iops-total": "7"}),
    ("throttle-group", "g3", {"x-iops-total": -1}),
    ("throttle-group", "g4", {"limits": {"iops-total": 5, "nosuch": 1}}),
    ("throttle-group", "g5", {"limits": 5}),
    ("memory-backend-ram", "m", {"size": 1 << 20}),
    ("memory-backend-ram", "m2", {}),
    ("memory-backend-ram", "m3", {"size": "1M"}),
    ("memory-backend-ram", "m4", {"size": 0}),
    ("iothread", "i2", {"poll-max-ns": -1}),
    ("iothread", "i3", {"poll-max-ns": "x"}),
)

REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("object-add", {"qom-type": "iothread"}),
    ("object-add", {"id": "q"}),
    ("object-add", {"qom-type": "iothread", "id": "q", "props": 5}),
    ("object-add", {"qom-type": "iothread", "id": "q", "poll-max-ns": 5}),
    ("object-del", {"id": "nosuch"}),
    ("object-del", {"id": "9x"}),
    ("qom-list", {"path": "/objects"}),
    ("block_passwd", {"device": "x", "password": "y"}),
    ("block_passwd", {"password": "y"}),
    ("change", {"device": "vnc", "target": "password", "arg": "x"}),
    ("change", {"device": "vnc", "target": "password"}),
    ("change", {"device": "vnc", "target": ":1"}),
    ("change", {"device": "nosuch", "target": "x"}),
    ("change", {"device": "cd", "target": "/nosuch"}),
    ("change", {"device": "cd", "target": "image.raw", "arg": "nosuch"}),
    ("change", {"device": "cd", "target": "image.raw", "arg": "raw"}),
    ("change", {"device": "cd", "target": "image.raw"}),
    ("query-block", {}),
)


def test_former_commands(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "-drive", "if=none,media=cdrom,id=cd", version=VERSION)
    for side in ("real", "ours"):
        (tmp_path / side / "image.raw").write_bytes(bytes(1 << 16))
    for qom_type, name, props in PROPERTIES:
        given = {"props": props} if props else {}
        pair.execute("object-add", **{"qom-type": qom_type, "id": name, **given})
    for command, arguments in REQUESTS:
        pair.execute(command, **arguments)
    pair.close()
