"""What is done to a storage daemon beside jobs: exports, clients of theirs, bitmaps."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.differential.side_rig import CLIENT, CLUSTER, DISKS, SERVER, Step

disks = st.integers(0, DISKS - 1)
nodes = st.builds("{}{}".format, st.sampled_from(["top", "top", "top", "mid", "t"]), disks)
bitmaps = st.sampled_from("xy")


@st.composite
def exports(draw: st.DrawFn) -> Step:
    """An export that comes or goes; the server, too."""
    name = draw(st.sampled_from(["e", "f"]))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        server: Step = draw(st.sampled_from([SERVER, ("nbd-server-stop", {})]))
        return server
    if kind < 4:
        return "block-export-del", {"id": name, "mode": draw(st.sampled_from(["safe", "hard"]))}
    if kind == 4:
        return "nbd-server-add", {"device": draw(nodes), "writable": draw(st.booleans())}
    more: dict[str, Any] = {"bitmaps": [draw(bitmaps)]} if draw(st.integers(0, 3)) == 0 else {}
    export = {"type": "nbd", "id": name, "name": name, "node-name": draw(nodes), **more}
    return "block-export-add", {**export, "writable": draw(st.booleans())}


@st.composite
def clients(draw: st.DrawFn) -> Step:
    """A client that comes, does one thing and goes."""
    at = draw(st.integers(0, 15)) * CLUSTER
    line = draw(st.sampled_from([f"write {at} 64k", f"write -z {at} 64k", f"read {at} 64k"]))
    return CLIENT, {"export": draw(st.sampled_from(["e", "f"])), "line": line}


@st.composite
def bitmap_steps(draw: st.DrawFn) -> Step:
    """A bitmap that comes, changes or goes, alone or in a transaction."""
    listed = [_bitmap_action(draw) for _ in range(draw(st.integers(1, 2)))]
    if len(listed) == 1:
        return listed[0]
    # QEMU dies of a transaction that fails to enable or disable a bitmap.
    listed = [one for one in listed if not one[0].endswith("able")]
    return "transaction", {"actions": [{"type": kind, "data": data} for kind, data in listed]}


def _bitmap_action(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(["add", "add", "clear", "disable", "enable", "merge"]))
    data: dict[str, Any] = {"node": f"top{draw(disks)}", "name": draw(bitmaps)}
    if kind == "merge":
        data = {"node": data["node"], "target": data["name"], "bitmaps": [draw(bitmaps)]}
    return f"block-dirty-bitmap-{kind}", data


@st.composite
def bitmap_backups(draw: st.DrawFn) -> Step:
    """A backup of what a bitmap says."""
    disk = draw(disks)
    return "blockdev-backup", {
        "job-id": f"j{disk}",
        "device": f"top{disk}",
        "target": f"t{disk}",
        "sync": "bitmap",
        "bitmap": draw(bitmaps),
        "bitmap-mode": draw(st.sampled_from(["on-success", "never", "always"])),
        "speed": draw(st.sampled_from([1, 0])),
        "auto-finalize": draw(st.booleans()),
    }
