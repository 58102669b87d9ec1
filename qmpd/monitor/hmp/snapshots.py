"""Internal snapshots as text: the table that QEMU shows, and `info snapshots`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from qmpd.base.run_state import RunState
from qmpd.base.sizes import as_uint64
from qmpd.block.io.disk_snapshots import (
    SnapshotGroup,
    can_snapshot,
    find_snapshot,
    snapshot_list,
    takes_part,
)
from qmpd.block.model.walk import top_nodes
from qmpd.errors import GenericError
from qmpd.jobs.image.snapshot import delete_snapshot, load_snapshot, save_snapshot
from qmpd.loop.clock import NANOSECONDS
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, reported
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.monitor.hmp.quantities import human_size
from qmpd.monitor.syncing import flush_ahead

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.profile.rules import Rules


def _line(ident: str, tag: str, size: str, date: str, clock: str, icount: str) -> str:
    return f"{_padded(ident, 7)} {_padded(tag, 16)} {size:>8} {date:>19} {clock:>15} {icount:>10}\n"


def _wide_line(ident: str, tag: str, size: str, date: str, clock: str, icount: str) -> str:
    return f"{_padded(ident, 9)} {_padded(tag, 16)} {size:>8}{date:>20}{clock:>13}{icount:>11}\n"


def _padded(text: str, width: int) -> str:
    """`text` padded with blanks to a width in bytes, as ``printf("%-*s")`` does."""
    return text + " " * (width - len(text.encode("utf-8", "surrogateescape")))


def dump_snapshots(snapshots: Iterable[Mapping[str, Any]], rules: Rules) -> str:
    """A table of snapshots, each a SnapshotInfo, as in the version whose rules these are."""
    wide = rules.holds("wide-snapshots")
    line, hour_digits = (_wide_line, 2) if wide else (_line, 4)
    titles = ("VM SIZE", "DATE", "VM CLOCK") if wide else ("VM_SIZE", "DATE", "VM_CLOCK")
    lines = [line("ID", "TAG", *titles, "ICOUNT")]
    for snapshot in snapshots:
        minutes, seconds = divmod(snapshot["vm-clock-sec"], 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours:0{hour_digits}}:{minutes:02}:{seconds:02}"
        clock += f".{snapshot['vm-clock-nsec'] // 1_000_000:03}"
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot["date-sec"]))
        size = human_size(as_uint64(snapshot["vm-state-size"]))
        icount = str(snapshot.get("icount", "" if wide else "--"))
        lines.append(line(snapshot["id"], snapshot["name"], size, date, clock, icount))
    return "".join(lines)


async def savevm(machine: Machine, arguments: Arguments) -> str:
    """Take a snapshot of all disks, in place of one of the same name (``hmp_savevm``)."""
    await _flush_disks_ahead(machine)
    tag = arguments.get("name")
    if tag is None:
        now = machine.services.clocks.host() // NANOSECONDS
        tag = time.strftime("vm-%Y%m%d%H%M%S", time.localtime(now))
    group = SnapshotGroup(machine.graph, None)
    if machine.profile.rules.holds("snapshots-that-are-missed"):
        _check_some(group, "No block device can accept snapshots")
    await save_snapshot(machine, group, tag, None, overwrite=True)
    return ""


async def loadvm(machine: Machine, arguments: Arguments) -> str:
    """Bring all disks back to a snapshot; where that fails the guest stays stopped."""
    await _flush_disks_ahead(machine)
    before = machine.run_state
    await machine.stop_for(RunState.RESTORE_VM)
    group = SnapshotGroup(machine.graph, None)
    name = arguments["name"]
    if machine.profile.rules.holds("snapshots-that-are-missed"):
        _check_some(group, "No block device supports snapshots")
        for node in group.nodes():
            if find_snapshot(node, name) is None:
                device = node.device_or_node_name
                raise GenericError(
                    f"Device '{device}' does not have the requested snapshot '{name}'"
                )
    await load_snapshot(machine, group, name, None)
    machine.go_on(before)
    return ""


def _check_some(group: SnapshotGroup, text: str) -> None:
    """Check that there is a disk, and that all can have snapshots.

    :param text: what is said where there is none
    :raises GenericError: it is not so
    """
    group.check()
    if not any(group.nodes()):
        raise GenericError(text)


async def delvm(machine: Machine, arguments: Arguments) -> str:
    """Delete a snapshot from all disks that have it."""
    await _flush_disks_ahead(machine)
    group = SnapshotGroup(machine.graph, None)
    some_cannot = machine.profile.rules.holds("snapshots-that-are-missed")
    await delete_snapshot(machine, group, arguments["name"], some_cannot=some_cannot)
    return ""


async def _flush_disks_ahead(machine: Machine) -> None:
    await flush_ahead(machine, [node.node_name for node in top_nodes(machine.graph)])


async def info_snapshots(machine: Machine, _: Arguments) -> str:
    """Snapshots that all disks have, and those that some lack."""
    disks = list(top_nodes(machine.graph))
    first = next((node for node in disks if takes_part(node) and can_snapshot(node)), None)
    if first is None:
        return reported(machine, "no block device can store vmstate for snapshot\n")
    partial = {node: snapshot_list(node) for node in disks if can_snapshot(node)}
    if not any(partial.values()):
        return "There is no snapshot available.\n"
    on_all = {snapshot["name"] for snapshot in partial[first]}
    for node in filter(takes_part, disks):
        on_all.intersection_update(snapshot["name"] for snapshot in snapshot_list(node))
    whole = [{**snapshot, "id": "--"} for snapshot in partial[first] if snapshot["name"] in on_all]
    text = "List of snapshots present on all disks:\n"
    rules = machine.profile.rules
    text += dump_snapshots(whole, rules) if whole else "None\n"
    for node, listed in partial.items():
        found = [snapshot for snapshot in listed if snapshot["name"] not in on_all]
        if found:
            text += f"\nList of partial (non-loadable) snapshots on '{node.device_name}':\n"
            text += dump_snapshots(found, rules)
    return text


SNAPSHOTS: Final = (
    HmpCommand(
        "savevm",
        savevm,
        (Parameter("name", Kind.STRING, optional=True),),
        "tag",
        "take a snapshot of all disks, by a name of its own if none is given",
    ),
    HmpCommand(
        "loadvm",
        loadvm,
        (Parameter("name", Kind.STRING),),
        "tag",
        "bring all disks back to a snapshot",
    ),
    HmpCommand(
        "delvm",
        delvm,
        (Parameter("name", Kind.STRING),),
        "tag",
        "delete a snapshot from all disks",
    ),
)
"""The commands."""
