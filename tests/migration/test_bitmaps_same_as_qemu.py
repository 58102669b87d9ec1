"""Dirty bitmaps on their way, by the sequences of QEMU's own tests, beside two QEMUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.migration.world import Side, World, same

NODE = "null-co,node-name={},size=16777216"


def _node(name: str) -> tuple[str, str]:
    return "-blockdev", NODE.format(name)


def _pair(world: World, source: str = "n", target: str = "n", *more: str) -> tuple[Side, Side]:
    sides = world.start(*_node(source)), world.start(*_node(target), "-incoming", "defer")
    for side in sides:
        side.may("events", "dirty-bitmaps", *more)
    return sides


def _bitmap(side: Side, node: str, name: str, **options: Any) -> None:
    side.do("block-dirty-bitmap-add", node=node, name=name, **options)


def _mapping(node: str, alias: str, *bitmaps: tuple[str, str], **transform: Any) -> dict[str, Any]:
    more = {"transform": transform} if transform else {}
    aliases = [{"name": name, "alias": given, **more} for name, given in bitmaps]
    return {"node-name": node, "alias": alias, "bitmaps": aliases}


def _map(side: Side, *nodes: dict[str, Any]) -> None:
    side.do("migrate-set-parameters", **{"block-bitmap-mapping": list(nodes)})


def _hashes(side: Side, node: str, *names: str) -> None:
    for name in names:
        side.do("x-debug-block-dirty-bitmap-sha256", node=node, name=name)


def _go(source: Side, target: Side) -> None:
    target.do("migrate-incoming", uri="unix:m.sock")
    source.do("migrate", uri="unix:m.sock")
    source.wait("MIGRATION", "completed", "failed")
    if source.said[-1][1]["status"] == "completed":
        source.status("postmigrate")
    target.wait("MIGRATION", "completed", "failed")
    for side in (source, target):
        side.ask("query-migrate")
        side.do("query-status")
        side.bitmaps()


def test_flags_granularities_and_bits(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        source, target = _pair(world)
        for number, granularity in enumerate((512, 4096, 65536, 1 << 25)):
            _bitmap(source, "n", f"on{number}", granularity=granularity)
            _bitmap(source, "n", f"off{number}", granularity=granularity, disabled=True)
        for area in ("0 64k", "1M 512", "15M 1M", "1234k 7k"):
            source.io("n", f"write {area}")
        source.do("block-dirty-bitmap-disable", node="n", name="on1")
        source.do("block-dirty-bitmap-enable", node="n", name="off2")
        source.io("n", "write 8M 128k")
        source.bitmaps()
        _go(source, target)
        names = [f"{kind}{number}" for kind in ("on", "off") for number in range(4)]
        _hashes(target, "n", *names)
        target.io("n", "write 4M 4k")
        target.bitmaps()
        target.do("block-dirty-bitmap-remove", node="n", name="on0")
        source.do("block-dirty-bitmap-remove", node="n", name="on0")
        return source.complaints(), target.complaints()

    same(tmp_path, scenario)


MAPPINGS: dict[str, tuple[list[dict[str, Any]] | None, list[dict[str, Any]] | None]] = {
    "none": (None, None),
    "source": ([_mapping("src", "dst", ("a", "x"), ("b", "y"))], None),
    "target": (None, [_mapping("dst", "src", ("x", "a"), ("y", "b"))]),
    "both": (
        [_mapping("src", "node", ("a", "one"), ("b", "two"))],
        [_mapping("dst", "node", ("x", "one"), ("y", "two"))],
    ),
    "one of two": ([_mapping("src", "dst", ("a", "x"))], None),
    "no bitmap of the source": ([_mapping("src", "dst")], None),
    "no node of the source": ([], None),
    "no node of the target": ([_mapping("src", "node", ("a", "one"))], []),
    "no bitmap of the target": (
        [_mapping("src", "node", ("a", "one"), ("b", "two"))],
        [_mapping("dst", "node", ("x", "one"))],
    ),
    "a node that is not there": (
        [_mapping("src", "node", ("a", "one"))],
        [_mapping("nowhere", "node", ("x", "one"))],
    ),
    "persistent on the source": ([_mapping("src", "dst", ("a", "x"), persistent=True)], None),
    "persistent on the target": (
        [_mapping("src", "dst", ("a", "x"), ("b", "y"))],
        [_mapping("dst", "dst", ("x", "x"), ("y", "y"), persistent=True)],
    ),
}


@pytest.mark.parametrize("how", MAPPINGS)
def test_aliases(tmp_path: Path, how: str) -> None:
    def scenario(world: World) -> Any:
        source, target = _pair(world, "src", "dst")
        _bitmap(source, "src", "a")
        _bitmap(source, "src", "b", disabled=True)
        source.io("src", "write 1M 1M")
        for side, mapping in zip((source, target), MAPPINGS[how], strict=True):
            if mapping is not None:
                _map(side, *mapping)
        _go(source, target)
        _hashes(target, "dst", "a", "b", "x", "y")
        return source.complaints(), target.complaints()

    same(tmp_path, scenario)


@pytest.mark.parametrize("crossed", ["source", "target"])
def test_swapped_names(tmp_path: Path, crossed: str) -> None:
    nodes = [
        _mapping("n", "m", ("a", "b"), ("b", "a")),
        _mapping("m", "n", ("a", "b"), ("b", "a")),
    ]

    def scenario(world: World) -> None:
        source = world.start(*_node("n"), *_node("m"))
        target = world.start(*_node("n"), *_node("m"), "-incoming", "defer")
        for side in (source, target):
            side.may("events", "dirty-bitmaps")
        for node in ("n", "m"):
            _bitmap(source, node, "a")
            _bitmap(source, node, "b", disabled=True)
        source.io("n", "write 0 1M")
        source.io("m", "write 4M 2M")
        _map(source if crossed == "source" else target, *nodes)
        _go(source, target)
        for node in ("n", "m"):
            _hashes(target, node, "a", "b")

    same(tmp_path, scenario)


@pytest.mark.parametrize("why", ["name too long", "node without a name", "busy", "same name"])
def test_what_cannot_be_sent(tmp_path: Path, why: str) -> None:
    def scenario(world: World) -> Any:
        unnamed = "driver=raw,node-name=r,file.driver=null-co,file.size=1048576"
        source = world.start(*_node("n"), "-blockdev", unnamed)
        target = world.start(*_node("n"), "-incoming", "defer")
        for side in (source, target):
            side.may("events", "dirty-bitmaps")
        _bitmap(source, "n", "first")
        if why == "name too long":
            _bitmap(source, "n", "a" * 256)
        elif why == "node without a name":
            nodes = source.ask("query-named-block-nodes", flat=True)
            name = next(node["node-name"] for node in nodes if node["node-name"][0] == "#")
            source.ask("block-dirty-bitmap-add", node=name, name="b")
        elif why == "busy":
            source.do("nbd-server-start", addr={"type": "unix", "data": {"path": "nbd.sock"}})
            export = {"type": "nbd", "id": "e", "node-name": "n", "bitmaps": ["first"]}
            source.do("block-dirty-bitmap-disable", node="n", name="first")
            source.do("block-export-add", **export)
        else:
            _bitmap(target, "n", "first")
        target.do("migrate-incoming", uri="unix:m.sock", exit_on_error=False)
        source.do("migrate", uri="unix:m.sock")
        source.wait("MIGRATION", "failed")
        if why != "same name":
            # otherwise it is the target that ends it, and what is cleaned up when differs
            source.do("query-migrate")
            source.do("query-status")
            source.bitmaps()
        target.wait("MIGRATION", "failed")
        target.bitmaps()
        said = target.complaints() if why == "same name" else source.complaints()
        return [line for line in said if "Unable to write" not in line]

    same(tmp_path, scenario)


def test_bitmaps_are_busy_until_it_is_cancelled(tmp_path: Path) -> None:
    def scenario(world: World) -> None:
        source, target = _pair(world)
        _bitmap(source, "n", "on")
        _bitmap(source, "n", "off", disabled=True)
        # QEMU finds no moment to stop the guest then
        source.do("migrate-set-parameters", **{"downtime-limit": 0})
        target.do("migrate-incoming", uri="unix:m.sock", exit_on_error=False)
        source.do("migrate", uri="unix:m.sock")
        source.wait("MIGRATION", "active")
        target.wait("MIGRATION", "active")
        source.bitmaps()
        for name in ("on", "off"):
            for verb in ("remove", "clear", "disable"):
                source.do(f"block-dirty-bitmap-{verb}", node="n", name=name)
        source.io("n", "write 0 64k")
        source.do("migrate_cancel")
        source.wait("MIGRATION", "cancelled")
        source.do("query-migrate")
        source.do("query-status")
        source.bitmaps()
        target.wait("MIGRATION", "failed")
        target.bitmaps()
        target.do("query-status")

    same(tmp_path, scenario)


def test_postcopy(tmp_path: Path) -> None:
    def scenario(world: World) -> Any:
        source, target = _pair(world)
        _bitmap(source, "n", "on", granularity=512)
        _bitmap(source, "n", "off", granularity=512, disabled=True)
        source.io("n", "write 1M 1M")
        source.do("migrate-set-parameters", **{"downtime-limit": 0})
        target.do("migrate-incoming", uri="unix:m.sock")
        source.do("migrate", uri="unix:m.sock")
        source.do("migrate-start-postcopy")
        source.wait("MIGRATION", "completed")
        target.wait_for_both("MIGRATION", "completed", "RESUME")
        source.status("postmigrate")
        for side in (source, target):
            side.bitmaps()
        _hashes(target, "n", "on", "off")
        target.io("n", "write 4M 1M")
        _hashes(target, "n", "on", "off")
        return source.complaints(), target.complaints()

    same(tmp_path, scenario)
