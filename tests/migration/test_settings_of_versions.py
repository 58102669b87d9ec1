"""Capabilities and parameters of migrations, of each version and of qmpd as it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.differential.pair import Pair
from tests.support.versions import MEASURED

CAPABILITIES: tuple[dict[str, bool], ...] = (
    {"compress": True},
    {"postcopy-ram": True},
    {"compress": False, "postcopy-ram": False},
    {"xbzrle": True, "compress": True},
    {"multifd": True},
    {"xbzrle": True, "multifd": False, "compress": False},
    {"block": True},
    {"block": False},
    {"background-snapshot": True, "compress": True},
    {"zero-copy-send": True, "multifd": True, "compress": True},
    {"nosuch": True},
)

PARAMETERS: tuple[dict[str, Any], ...] = (
    *({"compress-level": level} for level in (9, 10, -1)),
    *({"compress-threads": number} for number in (0, 255, 256)),
    *({"decompress-threads": number} for number in (0, 3)),
    {"compress-wait-thread": False},
    {"block-incremental": True},
    *({"cpu-throttle-initial": 0}, {"cpu-throttle-increment": 100}, {"max-cpu-throttle": 5}),
    *({"max-bandwidth": -1}, {"max-postcopy-bandwidth": 5}, {"x-checkpoint-delay": -1}),
    *({"downtime-limit": 2000001}, {"xbzrle-cache-size": 1000}, {"throttle-trigger-threshold": 0}),
    *({"multifd-channels": 0}, {"multifd-zlib-level": 10}, {"multifd-zstd-level": 21}),
    *({"announce-max": 0}, {"announce-rounds": 1001}, {"announce-step": 0}),
    {"announce-initial": 100001},
    {"tls-creds": "x", "tls-hostname": None},
    {"vcpu-dirty-limit": 0},
    {"block-bitmap-mapping": [{"node-name": "a", "alias": "b", "bitmaps": []}]},
)

FORMER: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("migrate-set-cache-size", {"value": value}) for value in (100, 8192)),
    *(("migrate_set_speed", {"value": value}) for value in (-1, 1 << 20)),
    *(("migrate_set_downtime", {"value": value}) for value in (-1, 1.5)),
    ("query-migrate-cache-size", {}),
)


@pytest.mark.parametrize("version", MEASURED)
def test_settings(version: str, tmp_path: Path) -> None:
    pair = Pair(tmp_path, version=version)

    def look() -> None:
        for command in ("query-migrate-capabilities", "query-migrate-parameters"):
            pair.execute(command)
        for line in ("info migrate_capabilities", "info migrate_parameters"):
            pair.execute("human-monitor-command", **{"command-line": line})

    look()
    for states in CAPABILITIES:
        wanted = [{"capability": name, "state": state} for name, state in states.items()]
        pair.execute("migrate-set-capabilities", capabilities=wanted)
    for parameters in PARAMETERS:
        pair.execute("migrate-set-parameters", **parameters)
    look()
    for command, arguments in FORMER:
        pair.execute(command, **arguments)
    look()
    pair.close()
