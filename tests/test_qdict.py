import json
import sys
from pathlib import Path

import pytest

from qmpd.base.qdict import BUCKETS, bucket, member_order

SESSIONS = Path(__file__).parent / "golden" / "sessions"


@pytest.mark.parametrize(
    ("inserted", "listed"),
    [
        ("return id", "return id"),
        ("error id", "id error"),
        ("event timestamp data", "timestamp event data"),
        ("class desc", "class desc"),
        ("seconds microseconds", "seconds microseconds"),
        ("running status", "status running"),
        ("major minor micro", "micro minor major"),
        ("micro minor major", "minor micro major"),
        ("type device len offset speed error", "device len offset speed type error"),
        ("z y x b a", "x a y b z"),
        ("QMP", "QMP"),
        ("", ""),
    ],
)
def test_orders_seen(inserted: str, listed: str) -> None:
    assert member_order(inserted.split()) == listed.split()


def test_buckets() -> None:
    assert bucket("") == 12345 % BUCKETS
    assert bucket("micro") == bucket("minor")
    assert all(0 <= bucket(chr(code)) < BUCKETS for code in range(0x300))


def test_a_zero_character_counts_as_two_bytes() -> None:
    data = b"\xc0\x80"
    value = 0x238F13AF * 2 + data[0] + (data[1] << 5)
    assert bucket("\0") == (1103515243 * value + 12345) % 2**32 % BUCKETS


def test_long_names_are_read_in_steps_and_not_kept() -> None:
    name = "ab\xe9" * 30_000
    value = 0x238F13AF * len(name.encode())
    for index, byte in enumerate(name.encode()):
        value += byte << (index * 5 % 24)
    assert bucket(name) == (1103515243 * (value & 0xFFFFFFFF) + 12345) % 2**32 % BUCKETS
    before = sys.getrefcount(name)
    assert member_order(["b", name])
    assert sys.getrefcount(name) == before


def _objects(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        return [value, *(found for member in value.values() for found in _objects(member))]
    if isinstance(value, list):
        return [found for element in value for found in _objects(element)]
    return []


@pytest.mark.parametrize("path", sorted(SESSIONS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_buckets_ascend_in_every_recorded_message(path: Path) -> None:
    objects = 0
    for line in path.read_text().splitlines():
        for found in _objects(json.loads(line).get("recv")):
            buckets = [bucket(name) for name in found]
            assert buckets == sorted(buckets)
            objects += 1
    assert objects > 5
