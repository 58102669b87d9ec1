"""Every type that a property of a device model may have is read as what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import qmpd
from qmpd.machine.devices.properties import ENUMS, UNSIGNED
from tests.support.versions import MEASURED

TABLES = Path(qmpd.__file__).parent / "profile" / "versions"
OTHERS = {"bool", "int32", "str", "string", "busnr", "list", "IOThreadVirtQueueMappingList"}


@pytest.mark.parametrize("version", MEASURED)
def test_all_types_are_known(version: str) -> None:
    models = json.loads((TABLES / version / "device-properties.json").read_text("ascii"))
    types = {each[1] for properties in models.values() for each in properties}
    assert {each for each in types if "<" not in each} <= OTHERS | set(ENUMS) | set(UNSIGNED)
