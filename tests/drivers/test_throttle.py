"""throttle nodes and throttle-group objects: limits, refusals, and requests that wait."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.drivers.pair import Drivers

BUCKETS = ("bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write")
IMAGE = {"driver": "file", "filename": "z.qcow2"}


def _group(pair: Drivers, name: str, **properties: Any) -> Any:
    return pair.execute("object-add", id=name, **{"qom-type": "throttle-group", **properties})


def _get(pair: Drivers, path: str, name: str = "limits") -> Any:
    return pair.execute("qom-get", path=path, property=name)


def _set(pair: Drivers, path: str, value: Any, name: str = "limits") -> Any:
    return pair.execute("qom-set", path=path, property=name, value=value)


def _values(name: str) -> list[dict[str, Any]]:
    most, length = f"{name}-max", f"{name}-max-length"
    return [
        *({name: value} for value in (0, 1, 10**15, 10**15 + 1, -1, 2**63 - 1)),
        *({most: value} for value in (5, -1, 10**15 + 1)),
        *({length: value} for value in (0, 1, -1, 2**32, 2**32 - 1)),
        *({name: 5, most: value} for value in (4, 50)),
        {name: 5, length: 2},
        *({name: 5, most: 50, length: value} for value in (0, 2, 2**32 - 1)),
        {name: 5, most: 10**15, length: 2},
    ]


TOGETHER: tuple[Any, ...] = (
    {"bps-total": 1, "bps-read": 1},
    {"bps-total": 1, "iops-read": 1},
    {"iops-total": 1, "iops-write": 1},
    {"bps-total-max": 1, "bps-write-max": 1},
    {"iops-size": 1},
    {"iops-size": 4096, "iops-read": 5},
    {"iops-size": -1},
    {"iops-size": -1, "iops-total": 1},
    {"iops-size": 2**63 - 1, "iops-total": 1},
    {"iops-total": 1, "bps-read": 10**16},
    {"bogus": 1},
    {"bps_total": 1},
    {"bps-total": "x"},
    {"bps-total": 1.5},
    {"bps-total": None},
    [],
    5,
    None,
    "x",
)


def _try(pair: Drivers, limits: Any) -> None:
    """Give limits in all the ways there are."""
    _group(pair, "new", limits=limits)
    _get(pair, "new")
    pair.execute("object-del", id="new")
    if isinstance(limits, dict):
        _group(pair, "new", **{f"x-{name}": value for name, value in limits.items()})
        _get(pair, "new")
        pair.execute("object-del", id="new")
    _set(pair, "g", limits)
    _get(pair, "/objects/g")


@pytest.mark.parametrize("name", BUCKETS)
def test_limits(pair: Drivers, name: str) -> None:
    _group(pair, "g")
    for limits in _values(name):
        _try(pair, limits)


def test_limits_together(pair: Drivers) -> None:
    _group(pair, "g")
    for limits in TOGETHER:
        _try(pair, limits)
    _set(pair, "g", {"iops-size": 0, "iops-total": 6})
    _set(pair, "g", {"bps-read": 5})
    _set(pair, "g", {"bps-total": 0, "bps-read": 7})
    _get(pair, "g")
    _group(pair, "h", limits={"bps-total": 1}, **{"x-bps-read": 5})
    _group(pair, "h", limits={"bps-total": 1}, **{"x-bps-total": 5})
    _get(pair, "h")
    _group(pair, "i", bogus=1)
    _group(pair, "i", **{"x-bps-total": -1, "x-bogus": 1})


def test_properties(pair: Drivers) -> None:
    _group(pair, "g", limits={"iops-read": 9, "iops-read-max": 99})
    for name in ("x-iops-read", "x-iops-size", "x-bps-read-max-length", "type", "no", "x-no"):
        _get(pair, "g", name)
        _get(pair, "/objects/g", name)
        _set(pair, "g", 5, name)
    pair.execute("qom-list", path="/objects/g")
    for path in ("none", "/objects/none"):
        _get(pair, path)
        _set(pair, path, {})


def test_names(pair: Drivers) -> None:
    _group(pair, "g")
    for name in ("g", "", "1", "a b", "none", "x" * 100):
        _group(pair, name)
    pair.execute("object-del", id="none")
    pair.execute("object-del", id="none")
    pair.execute("object-add", **{"qom-type": "throttle-group"})
    pair.execute("object-add", id="h")
    pair.execute("object-add", id="h", **{"qom-type": "none"})


def test_nodes(pair: Drivers) -> None:
    _group(pair, "g")
    pair.add("file", "f", filename="a.raw")
    for options in (
        {"file": "f"},
        {"file": "f", "throttle-group": "none"},
        {"throttle-group": "g"},
        {"file": "none", "throttle-group": "none"},
        {"file": "f", "throttle-group": 5},
        {"file": "f", "throttle-group": "g", "cache": {}},
        {"file": "f", "throttle-group": "g"},
    ):
        pair.add("throttle", "t", **options)
    pair.add("throttle", "u", file="f", read_only=True, throttle_group="g")
    pair.look()
    pair.edges()
    pair.execute("object-del", id="g")
    pair.io("t", "write 0 64k", "read 0 64k", "write -z 0 64k", "write -z -u 64k 64k", "flush")
    pair.io("t", "discard 0 64k", "write -c 0 64k", "map", "truncate 2M", "length", "info")
    pair.io("u", "read 0 512", "write 0 512", "truncate 0")
    pair.look()
    pair.execute("block_resize", size=1 << 20, **{"node-name": "t"})
    pair.add("throttle", "v", file="t", throttle_group="g")
    pair.add("raw", "r", file="v")
    pair.execute("block-dirty-bitmap-add", node="v", name="b")
    pair.io("r", "write 0 64k")
    pair.look()
    pair.edges()


def test_reopening(pair: Drivers) -> None:
    for name in ("g", "h"):
        _group(pair, name)
    pair.add("file", "f", filename="a.raw")
    pair.add("file", "e", filename="b.raw")
    pair.add("throttle", "t", file="f", throttle_group="g")
    whole = {"driver": "throttle", "node-name": "t", "file": "f", "throttle-group": "g"}
    for change in (
        *({}, {"throttle-group": "h"}, {"throttle-group": "none"}, {"file": "e"}, {"file": None}),
        *({"file": "none"}, {"read-only": True}, {"read-only": False}, {"bogus": 1}),
        *({"discard": "unmap", "detect-zeroes": "unmap"}, {"driver": "copy-on-read"}),
        {"file": {"driver": "file", "filename": "a.raw"}},
    ):
        pair.reopen({**whole, **change})
        pair.execute("query-named-block-nodes")
    for missing in whole:
        pair.reopen({n: value for n, value in whole.items() if n != missing})
    pair.reopen({**whole, "throttle-group": "h"})
    for name in ("g", "h"):
        pair.execute("object-del", id=name)
    pair.delete("t")
    pair.execute("object-del", id="h")


def test_around_a_format(pair: Drivers) -> None:
    pair.image("create", "-q", "-f", "qcow2", "z.qcow2", "1M")
    _group(pair, "g")
    below = {"driver": "throttle", "throttle-group": "g", "file": IMAGE}
    pair.add("qcow2", "q", file=below)
    pair.look()
    pair.io("q", "write 0 64k")
    pair.delete("q")
    pair.add("throttle", "t", file={"driver": "qcow2", "file": IMAGE}, throttle_group="g")
    pair.io("t", "write -c 64k 64k", "read -P 205 64k 64k", "info", "map")
    pair.look()


def test_drives_know_no_nodes(pair: Drivers) -> None:
    _group(pair, "g")
    pair.add("file", "f", filename="a.raw")
    pair.add("throttle", "t", file="f", throttle_group="g")
    none = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    pair.execute("block_set_io_throttle", id="t", **none)
    pair.execute("block_set_io_throttle", device="t", **none)


def test_waiting(pair: Drivers) -> None:
    """A request that fills the bucket to ten times its brim holds up the next for a second."""
    _group(pair, "g", limits={"bps-write": 1 << 20})
    pair.add("file", "f", filename="a.raw")
    pair.add("throttle", "t", file="f", throttle_group="g")
    pair.io("t", "write 0 512k")
    began = time.monotonic()
    pair.io("t", "read 0 512k", "write 0 512")
    waited = time.monotonic() - began
    assert 0.2 < waited < 5
    pair.io("t", "write 0 512k")
    _set(pair, "g", {"bps-write": 0})
    began = time.monotonic()
    pair.io("t", "write 0 1M", "write 0 1M")
    assert time.monotonic() - began < waited
