"""HMP's info: the subcommands, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.run_state import RunState
from qmpd.block.query.info import query_block, query_named_block_nodes
from qmpd.block.query.stats import query_blockstats
from qmpd.monitor.hmp.chardevs import info_chardev
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, by_name
from qmpd.monitor.hmp.former import FORMER_INFO
from qmpd.monitor.hmp.guest_info import GUEST_INFO
from qmpd.monitor.hmp.hardware_info import HARDWARE_INFO
from qmpd.monitor.hmp.image_info import dump_image_info
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.monitor.hmp.migration_info import MIGRATION_INFO
from qmpd.monitor.hmp.snapshots import info_snapshots

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.profile.rules import Rules

_STATS: Final = (
    "rd_bytes",
    "wr_bytes",
    "rd_operations",
    "wr_operations",
    "flush_operations",
    "wr_total_time_ns",
    "rd_total_time_ns",
    "flush_total_time_ns",
    "rd_merged",
    "wr_merged",
    "idle_time_ns",
)
_THROTTLE: Final = ("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
_THROTTLE_SHOWN: Final = (
    *("bps", "bps_rd", "bps_wr", "bps_max", "bps_rd_max", "bps_wr_max"),
    *("iops", "iops_rd", "iops_wr", "iops_max", "iops_rd_max", "iops_wr_max", "iops_size"),
)


async def info_block(machine: Machine, arguments: Arguments) -> str:
    """Backends with their media; the named nodes with ``-n``, or if no backend has the name."""
    wanted, rules = arguments.get("device"), machine.profile.rules
    shown = rules if "verbose" in arguments else None
    parts: list[str] = []
    if "nodes" not in arguments:
        for number, info in enumerate(await query_block(machine.graph)):
            if wanted in (None, info["device"]):
                parts += ["\n" if number else "", _block(info, info.get("inserted"), shown)]
        if parts or wanted is None:
            return "".join(parts)
    for number, node in enumerate(await query_named_block_nodes(machine.graph, flat=False)):
        if wanted in (None, node["node-name"]):
            parts += ["\n" if number else "", _block(None, node, shown)]
    return "".join(parts)


def _block(
    info: Mapping[str, Any] | None, inserted: Mapping[str, Any] | None, verbose: Rules | None
) -> str:
    """What is said of a backend or node; its images as well, where `verbose` says in what form."""
    node_name = None if inserted is None else inserted.get("node-name")
    if info is not None and info["device"]:
        title = info["device"] + (f" ({node_name})" if node_name else "")
    else:
        title = node_name or (info or {}).get("qdev") or "<anonymous>"
    if inserted is None:
        text = f"{title}: [not inserted]\n"
    else:
        flags = ", read-only" if inserted["ro"] else ""
        flags += ", encrypted" if inserted["encrypted"] else ""
        text = f"{title}: {inserted['file']} ({inserted['drv']}{flags})\n"
    if info is not None:
        text += _device(info)
    if inserted is None:
        return text
    return text + _inserted(inserted) + (_images(inserted, verbose) if verbose else "")


def _device(info: Mapping[str, Any]) -> str:
    text = ""
    if "qdev" in info:
        text += f"    Attached to:      {info['qdev']}\n"
    if info.get("io-status", "ok") != "ok":
        text += f"    I/O status:       {info['io-status']}\n"
    if info["removable"]:
        locked = "" if info["locked"] else "not "
        tray = "open" if info.get("tray_open") else "closed"
        text += f"    Removable device: {locked}locked, tray {tray}\n"
    return text


def _inserted(inserted: Mapping[str, Any]) -> str:
    cache = inserted["cache"]
    mode = "writeback" if cache["writeback"] else "writethrough"
    mode += ", direct" if cache["direct"] else ""
    mode += ", ignore flushes" if cache["no-flush"] else ""
    text = f"    Cache mode:       {mode}\n"
    if "backing_file" in inserted:
        depth = inserted["backing_file_depth"]
        text += f"    Backing file:     {inserted['backing_file']} (chain depth: {depth})\n"
    if inserted["detect_zeroes"] != "off":
        text += f"    Detect zeroes:    {inserted['detect_zeroes']}\n"
    if any(inserted[name] for name in _THROTTLE):
        limits = " ".join(f"{name}={inserted.get(name, 0)}" for name in _THROTTLE_SHOWN)
        limits += f" group={inserted.get('group')}"
        text += f"    I/O throttling:   {limits}\n"
    return text


def _images(inserted: Mapping[str, Any], rules: Rules) -> str:
    text = "\nImages:\n"
    image: Mapping[str, Any] | None = inserted["image"]
    while image is not None:
        text += dump_image_info(image, rules)
        image = image.get("backing-image")
    return text


async def info_blockstats(machine: Machine, _: Arguments) -> str:
    """Counters of every backend."""
    entries = query_blockstats(machine.graph, query_nodes=False)
    named = [(entry["device"], entry["stats"]) for entry in entries if "device" in entry]
    if machine.profile.rules.holds("block-statistics"):
        return "\n".join(f"{name}: {_table_of_stats(stats)}" for name, stats in named)
    return "".join(f"{name}: {_line_of_stats(stats)}\n" for name, stats in named)


def _line_of_stats(stats: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={stats.get(name, 0)}" for name in _STATS)


def _table_of_stats(stats: Mapping[str, Any]) -> str:
    text = f"idle_time_ns={stats.get('idle_time_ns', 0)}\n"
    text += _row("", "bytes", "operations", "total_time_ns", "merged")
    for title, kind in (("Read:", "rd"), ("Write:", "wr")):
        count, took, merged = (
            stats[f"{kind}_{what}"] for what in ("operations", "total_time_ns", "merged")
        )
        text += _row(title, stats[f"{kind}_bytes"], count, took, merged)
    flushes, took = stats["flush_operations"], stats["flush_total_time_ns"]
    return text + _row("Flush:", "", flushes, took, "").rstrip() + "\n"


def _row(title: str, size: object, count: object, took: object, merged: object) -> str:
    return f"{title:10} {size:>20} {count:>16} {took:>24} {merged:>10}\n"


async def info_block_jobs(machine: Machine, _: Arguments) -> str:
    """Progress of every block job."""
    jobs = machine.jobs.query_block_jobs()
    if not jobs:
        return "No active jobs\n"
    return "".join(
        f"Type {job['type']}, device {job['device']}: Completed {job['offset']} of {job['len']}"
        f" bytes, speed limit {job['speed']} bytes/s\n"
        if job["type"] != "stream"
        else f"Streaming device {job['device']}: Completed {job['offset']} of {job['len']}"
        f" bytes, speed limit {job['speed']} bytes/s\n"
        for job in jobs
    )


async def info_name(machine: Machine, _: Arguments) -> str:
    """Name of the guest."""
    return "" if machine.name is None else f"{machine.name}\n"


async def info_uuid(machine: Machine, _: Arguments) -> str:
    """UUID of the guest."""
    return f"{machine.uuid}\n"


async def info_status(machine: Machine, _: Arguments) -> str:
    """Run state of the guest."""
    if machine.running:
        return "VM status: running\n"
    state = machine.run_state
    shown = "" if state is RunState.PAUSED else f" ({state.value})"
    return f"VM status: paused{shown}\n"


async def info_version(machine: Machine, _: Arguments) -> str:
    """Version of QEMU that is emulated, and qmpd's own."""
    return f"{machine.profile.version}{machine.profile.package}\n"


INFO: Final = by_name(
    HmpCommand(
        "block",
        info_block,
        (
            Parameter("nodes", Kind.FLAG, flag="n"),
            Parameter("verbose", Kind.FLAG, flag="v"),
            Parameter("device", Kind.BLOCK_DEVICE, optional=True),
        ),
        "[-n] [-v] [device]",
        "show one or all block devices, or named nodes",
    ),
    *FORMER_INFO,
    *MIGRATION_INFO,
    *GUEST_INFO,
    *HARDWARE_INFO,
    HmpCommand("block-jobs", info_block_jobs, summary="show progress of block jobs"),
    HmpCommand("blockstats", info_blockstats, summary="show block device statistics"),
    HmpCommand("chardev", info_chardev, summary="show the character devices"),
    HmpCommand("name", info_name, summary="show the current VM name"),
    HmpCommand("snapshots", info_snapshots, summary="show the currently saved VM snapshots"),
    HmpCommand("status", info_status, summary="show the current VM status"),
    HmpCommand("uuid", info_uuid, summary="show the current VM UUID"),
    HmpCommand("version", info_version, summary="show the version of QEMU"),
)

UNSERVED_INFO: Final = frozenset(
    """
    capture cryptodev history irq jit lapic mem mtree network numa opcount pic
    qom-tree ramblock registers rocker rocker-of-dpa-flows rocker-of-dpa-groups
    rocker-ports roms sev sgx stats sync-profile tlb usbhost usernet
    virtio virtio-queue-element virtio-queue-status virtio-status virtio-vhost-queue-status
    accel accelerators cpustats firmware-log ioapic profile rdma via
    """.split()
)
"""Subcommands of the info of any version of QEMU that qmpd lacks."""
