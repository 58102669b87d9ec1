"""object-add and object-del: QEMU's texts for what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from qmpd.errors import QmpError
from tests.support.machines import TestMachine

RANGE = "value must be in range [0, 9223372036854775807]"
LIMITS = [
    ({"x-iops-total": -1}, "Property values cannot be negative"),
    ({"x-iops-total-max": 4}, "bps_max/iops_max require corresponding bps/iops values"),
    ({"x-iops-total": 4, "x-iops-total-max": 3}, "bps_max/iops_max cannot be lower than bps/iops"),
    (
        {"x-iops-total": 4, "x-iops-total-max": 8, "x-iops-total-max-length": 0},
        "the burst length cannot be 0",
    ),
    (
        {"x-iops-total": 4, "x-iops-total-max-length": 2},
        "burst length set without burst rate",
    ),
    ({"x-iops-size": 4}, "iops size requires an iops value to be set"),
    (
        {"limits": {"iops-total": 3, "iops-read": 2}},
        "bps/iops/max total values and read/write values cannot be used at the same time",
    ),
    (
        {"limits": {"bps-total-max-length": 1 << 32}},
        "bps-total-max-length value must be in the range [0, 4294967295]",
    ),
    (
        {"limits": {"bps-total": 1000000000000001}},
        "bps/iops/max values must be within [0, 1000000000000000]",
    ),
    (
        {"limits": {"bps-total": 5, "bps-total-max": 10**8, "bps-total-max-length": 10**9}},
        "burst length too high for this burst rate",
    ),
]


@pytest.mark.parametrize(("properties", "text"), LIMITS)
def test_limits(properties: dict[str, Any], text: str) -> None:
    _refused({"qom-type": "throttle-group", "id": "tg", **properties}, text)


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"poll-max-ns": -1}, f"poll-max-ns {RANGE}"),
        (
            {"thread-pool-min": 100, "thread-pool-max": 3},
            "bad thread-pool-min/thread-pool-max values",
        ),
    ],
)
def test_iothreads(properties: dict[str, Any], text: str) -> None:
    _refused({"qom-type": "iothread", "id": "io", **properties}, text)


def _refused(arguments: dict[str, Any], text: str) -> None:
    test = TestMachine()
    with pytest.raises(QmpError) as caught:
        test.execute("object-add", **arguments)
    assert caught.value.desc == text
    test.execute("object-add", qom_type="iothread", id="free")


def test_ids() -> None:
    test = TestMachine()
    test.execute("object-add", qom_type="iothread", id="a")
    for object_id, text in (
        ("a", "attempt to add duplicate property 'a' to object (type 'container')"),
        ("9", "Parameter 'id' expects an identifier"),
        ("", "Parameter 'id' expects an identifier"),
    ):
        with pytest.raises(QmpError) as caught:
            test.execute("object-add", qom_type="iothread", id=object_id)
        assert caught.value.desc == text
    test.execute("object-del", id="a")
    with pytest.raises(QmpError) as caught:
        test.execute("object-del", id="a")
    assert caught.value.desc == "object 'a' not found"


def test_iothreads_are_listed_in_the_order_of_qoms_table() -> None:
    test = TestMachine()
    for name in "zeta alpha io1 io0 q b mid x9 thread-a thread-b".split():
        test.execute("object-add", qom_type="iothread", id=name)
    listed = [entry["id"] for entry in test.execute("query-iothreads")]
    assert listed == "b thread-b io1 zeta io0 thread-a x9 mid q alpha".split()
    names = [entry["name"] for entry in test.execute("qom-list", path="/objects")]
    assert names == ["type", *listed[::-1]]
