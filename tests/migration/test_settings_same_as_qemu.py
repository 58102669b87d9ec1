"""Capabilities and parameters: every value at its limits, and what excludes what, as on QEMU."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from qmpd.machine.migration.capabilities import NAMES
from tests.block.files import Files, both_programs

LONG = "a" * 256


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """One pair for all: what a test leaves set is set on both."""
    with both_programs(tmp_path_factory.mktemp("settings")) as pair:
        yield pair


def _set(both: Files, **states: bool) -> None:
    changes = [{"capability": n.replace("_", "-"), "state": s} for n, s in states.items()]
    both.execute("migrate-set-capabilities", capabilities=changes)


def _node(name: str, alias: str, *bitmaps: dict[str, Any]) -> dict[str, Any]:
    return {"node-name": name, "alias": alias, "bitmaps": list(bitmaps)}


def test_pairs_of_capabilities(both: Files) -> None:
    both.execute("query-migrate-capabilities")
    for pair in combinations(NAMES, 2):
        for state in (True, False):
            _set(both, **dict.fromkeys(pair, state))
    both.execute("query-migrate-capabilities")


def test_what_is_set_counts_as_well_as_what_is_to_be_set(both: Files) -> None:
    for name in NAMES:
        _set(both, **{name: True})
    both.execute("query-migrate-capabilities")
    for name in reversed(NAMES):
        _set(both, **{name: True})
    both.execute("query-migrate-capabilities")
    _set(both, postcopy_ram=False, background_snapshot=True, multifd=False)
    both.execute("migrate-set-capabilities", capabilities=[])
    both.execute(
        "migrate-set-capabilities",
        capabilities=[{"capability": "events", "state": s} for s in (False, True, False)],
    )
    both.execute("query-migrate-capabilities")


def test_zero_copy_and_mapped_ram_need_plain_data(both: Files) -> None:
    _set(both, multifd=True, zero_copy_send=True)
    both.execute("migrate-set-parameters", **{"multifd-compression": "zlib"})
    both.execute("migrate-set-parameters", **{"tls-creds": "t"})
    both.execute("migrate-set-parameters", **{"tls-creds": None})
    _set(both, zero_copy_send=False, mapped_ram=True)
    both.execute("migrate-set-parameters", **{"multifd-compression": "zstd"})
    both.execute("migrate-set-parameters", **{"announce-max": 7})
    both.execute("migrate-set-parameters", **{"tls-creds": "t"})
    _set(both, mapped_ram=False, zero_copy_send=True)
    both.execute("query-migrate-parameters")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("announce-initial", (0, 100000, 100001)),
        ("announce-max", (0, 100000, 100001)),
        ("announce-rounds", (0, 1000, 1001)),
        ("announce-step", (0, 1, 10000, 10001)),
        ("throttle-trigger-threshold", (0, 1, 100, 101, 256)),
        ("cpu-throttle-initial", (0, 1, 99, 100)),
        ("cpu-throttle-increment", (0, 1, 99, 100)),
        ("max-cpu-throttle", (19, 20, 99, 100)),
        ("max-bandwidth", (0, 2**63, 2**64 - 1)),
        ("avail-switchover-bandwidth", (0, 2**64 - 1)),
        ("downtime-limit", (0, 2000000, 2000001)),
        ("x-checkpoint-delay", (0, 2**32 - 1, 2**32)),
        ("multifd-channels", (0, 1, 255)),
        ("xbzrle-cache-size", (0, 2048, 4096, 12288, 2**63)),
        ("max-postcopy-bandwidth", (0, 2**64 - 1)),
        ("multifd-compression", ("zlib", "zstd", "qatzip")),
        ("multifd-zlib-level", (0, 9, 10)),
        ("multifd-qatzip-level", (0, 1, 9, 10)),
        ("multifd-zstd-level", (0, 20, 21)),
        ("x-vcpu-dirty-limit-period", (0, 1, 1000, 1001)),
        ("vcpu-dirty-limit", (0, 1, 2**64 - 1)),
        ("mode", ("cpr-reboot", "cpr-transfer", "none")),
        ("zero-page-detection", ("none", "legacy", "all")),
        ("direct-io", (True, 1)),
        ("tls-creds", ("a", None, "")),
        ("tls-hostname", ("a", None, 5)),
        ("tls-authz", ("a", None)),
        ("cpu-throttle-tailslow", (True,)),
    ],
)
def test_the_limits_of_each_parameter(both: Files, name: str, values: tuple[object, ...]) -> None:
    for value in values:
        both.execute("migrate-set-parameters", **{name: value})
    both.execute("query-migrate-parameters")


def test_nothing_is_set_when_something_is_refused(both: Files) -> None:
    both.execute("migrate-set-parameters", **{"downtime-limit": 5, "announce-step": 0})
    both.execute("migrate-set-parameters", **{"announce-step": 0, "multifd-channels": 0})
    both.execute("migrate-set-parameters", **{"max-cpu-throttle": 30})
    both.execute("migrate-set-parameters", **{"cpu-throttle-initial": 31})
    both.execute("query-migrate-parameters")


@pytest.mark.parametrize(
    "mapping",
    [
        [],
        [_node("n", "1x")],
        [_node("n", "")],
        [_node("n", LONG)],
        [_node("n", LONG[1:])],
        [_node("n" * 32, "x")],
        [_node("n" * 31, "x")],
        [_node("", "x")],
        [_node("n", "x"), _node("n", "y")],
        [_node("n", "x"), _node("m", "x")],
        [_node("n", "x"), _node("n", "x")],
        [_node("n", "x", {"name": "b", "alias": LONG})],
        [_node("n", "x", {"name": "b" * 1024, "alias": "b"})],
        [_node("n", "x", {"name": "b" * 1023, "alias": ""})],
        [_node("n", "x", {"name": "b", "alias": "c"}, {"name": "b", "alias": "d"})],
        [_node("n", "x", {"name": "b", "alias": "c"}, {"name": "d", "alias": "c"})],
        [
            _node("n", "x", {"name": "b", "alias": "c"}),
            _node("m", "y", {"name": "b", "alias": "c"}),
        ],
        [_node("n", "x", {"name": "b", "alias": "c", "transform": {"persistent": False}})],
        [_node("n", "x", {"name": "b", "alias": "c", "transform": {}})],
        [_node("n", "x", {"name": "ü" * 512, "alias": "c"})],
        [_node("ü" * 16, "x")],
    ],
)
def test_block_bitmap_mapping(both: Files, mapping: list[dict[str, Any]]) -> None:
    both.execute("migrate-set-parameters", **{"block-bitmap-mapping": mapping})
    both.execute("query-migrate-parameters")
