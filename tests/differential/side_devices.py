"""Devices, drives and media that come and go, as steps of a session."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.differential.side_rig import DISKS, Step

names = st.sampled_from(["h", "i"])
nodes = st.sampled_from(
    [*"abab", *(f"{kind}{disk}" for disk in range(DISKS) for kind in ("top", "top", "t", "mid"))]
)
MODELS: dict[str, dict[str, Any]] = {
    "scsi-hd": {"bus": "scsi.0"},
    "scsi-cd": {"bus": "scsi.0"},
    "usb-storage": {"bus": "usb.0"},
    "virtio-blk-pci": {},
}


@st.composite
def plugging(draw: st.DrawFn) -> Step:
    """A device comes or goes, or is given another drive."""
    name = draw(names)
    kind = draw(st.integers(0, 9))
    if kind < 5:
        model = draw(st.sampled_from(sorted(MODELS)))
        drive = draw(st.one_of(nodes, nodes, st.just("d")))
        return "device_add", {"driver": model, "id": name, "drive": drive, **MODELS[model]}
    if kind < 8:
        return "device_del", {"id": name}
    if kind == 8:
        path = f"/machine/peripheral/{name}"
        return "qom-set", {"path": path, "property": "drive", "value": draw(nodes)}
    return "system_reset", {}


@st.composite
def media(draw: st.DrawFn) -> Step:
    """What is in the CD-ROM drive changes."""
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return "blockdev-open-tray", {"id": "cd"}
    if kind == 1:
        return "blockdev-close-tray", {"id": "cd"}
    if kind == 2:
        return "blockdev-remove-medium", {"id": "cd"}
    if kind == 3:
        return "eject", {"id": "cd"}
    if kind == 4:
        more = draw(st.sampled_from([{}, {"format": "raw"}]))
        return "blockdev-change-medium", {"id": "cd", "filename": "@/medium.raw", **more}
    return "blockdev-insert-medium", {"id": "cd", "node-name": draw(nodes)}


@st.composite
def drives(draw: st.DrawFn) -> Step:
    """A drive comes or goes, or gets limits."""
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return "human-monitor-command", {"command-line": "drive_del d"}
    if kind == 1:
        limits = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        group = draw(st.sampled_from([{}, {"group": "g"}]))
        bps = draw(st.sampled_from([0, 1 << 20]))
        return "block_set_io_throttle", {"id": draw(names), "bps": bps, **limits, **group}
    more = draw(st.sampled_from(["", ",format=raw", ",format=raw,bps=1048576", ",snapshot=on"]))
    line = f"drive_add 0 if=none,id=d,file=@/medium.raw{more}"
    return "human-monitor-command", {"command-line": line}


def devices() -> st.SearchStrategy[Step]:
    """Any of these."""
    return st.one_of(plugging(), plugging(), media(), drives())
