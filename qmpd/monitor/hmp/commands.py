"""The HMP commands, as one table."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from qmpd.block.io import resize
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.backends import find_backend, named_backends
from qmpd.block.io.commit_image import commit_image
from qmpd.errors import BlockIOError
from qmpd.jobs.core.job_list import JobTable
from qmpd.machine import power
from qmpd.monitor.hmp import qemu_io as io
from qmpd.monitor.hmp import reading
from qmpd.monitor.hmp.chardevs import CHARDEVS
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, HmpHandler, by_name, reported
from qmpd.monitor.hmp.former import FORMER
from qmpd.monitor.hmp.guest_side import GUEST_SIDE
from qmpd.monitor.hmp.info import INFO, UNSERVED_INFO
from qmpd.monitor.hmp.line import Kind, Line, Parameter
from qmpd.monitor.hmp.migration import MIGRATION
from qmpd.monitor.hmp.nbd import NBD
from qmpd.monitor.hmp.plugging import PLUGGING
from qmpd.monitor.hmp.qom import QOM
from qmpd.monitor.hmp.requests import REQUESTS
from qmpd.monitor.hmp.snapshots import SNAPSHOTS
from qmpd.monitor.syncing import flush_ahead

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


async def qemu_io(machine: Machine, arguments: Arguments) -> str:
    """Run a qemu-io command on a backend, or on a node through a temporary backend."""
    name, text = arguments["device"], arguments["command"]
    line = await reading.read(machine, text, partial(io.IoLine, text, machine.profile.rules))
    if line.flushes:
        await flush_ahead(machine, (name,))
    return await machine.clock.completions.patiently(_run_io(machine, arguments, line))


async def _run_io(machine: Machine, arguments: Arguments, line: io.IoLine) -> str:
    name = arguments["device"]
    if "qdev" in arguments:
        return await io.run(machine, machine.devices.backend_of(name), line)
    backend = find_backend(machine.graph, name)
    if backend is not None:
        return await io.run(machine, backend, line)
    graph = machine.graph
    node = graph.lookup_device_or_node(None, name)
    backend = await BlockBackend.on(node)
    try:
        return await io.run(machine, backend, line)
    finally:
        await backend.close()


async def commit(machine: Machine, arguments: Arguments) -> str:
    """Commit an image, or all images, into the backing file (``hmp_commit``)."""
    every = arguments["device"] == "all"
    names = (b.name for b in named_backends(machine.graph))
    await flush_ahead(machine, names if every else (arguments["device"],))
    return await machine.clock.completions.patiently(_commit_named(machine, arguments["device"]))


async def _commit_named(machine: Machine, name: str) -> str:
    if name == "all":
        for backend in named_backends(machine.graph):
            node = backend.node
            if node is None or node.skip_implicit_filters().backing is None:
                continue
            if text := await _commit(machine, backend, "all"):
                return text
        return ""
    found = find_backend(machine.graph, name)
    if found is None:
        return reported(machine, f"Device '{name}' not found\n")
    return await _commit(machine, found, name)


async def _commit(machine: Machine, backend: BlockBackend, name: str) -> str:
    if backend.node is None or not backend.node.is_inserted:
        return reported(machine, f"Device '{backend.name}' has no medium\n")
    try:
        await commit_image(backend.node.skip_implicit_filters())
    except BlockIOError as error:
        said = f"{error.hint}\n" if error.hint else ""
        why = os.strerror(error.errno)
        return said + reported(machine, f"'commit' error for '{name}': {why}\n")
    return ""


async def stop(machine: Machine, _: Arguments) -> str:
    """Pause the guest."""
    await machine.stop()
    return ""


async def cont(machine: Machine, _: Arguments) -> str:
    """Let the guest run."""
    await machine.cont()
    return ""


async def quit_(machine: Machine, _: Arguments) -> str:
    """End the machine."""
    machine.request_shutdown("host-qmp-quit")
    return ""


async def system_reset(machine: Machine, _: Arguments) -> str:
    """Reset the guest."""
    await power.reset(machine, "host-qmp-system-reset")
    return ""


async def system_powerdown(machine: Machine, _: Arguments) -> str:
    """Press the power button."""
    machine.power_down()
    return ""


async def block_resize(machine: Machine, arguments: Arguments) -> str:
    """Resize the image under a device."""
    node = machine.graph.lookup_device_or_node(arguments["device"], None)
    await resize.block_resize(node, arguments["size"], arguments["device"])
    return ""


def _block_job(verb: Callable[[JobTable, str], Awaitable[None]]) -> HmpHandler:
    async def handler(machine: Machine, arguments: Arguments) -> str:
        await verb(machine.jobs, arguments["device"])
        return ""

    return handler


_MOST_WORDS: Final = 16
"""So many words can help be given; of more it says nothing."""


async def help_(machine: Machine, arguments: Arguments) -> str:
    """List all commands that are served, or show the one named (``help_cmd``)."""
    rest = Line(arguments.get("name", ""), machine.profile.rules, machine.host.print)
    words: list[str] = []
    while not rest.at_end():
        word = None if len(words) == _MOST_WORDS else rest.word()
        if word is None:
            return ""
        words.append(word)
    if words[:1] == ["info"]:
        return _help(machine, INFO, UNSERVED_INFO, words, 1)
    return _help(machine, COMMANDS, UNSERVED, words, 0)


def _help(
    machine: Machine,
    table: Mapping[str, HmpCommand],
    unserved: Collection[str],
    words: Sequence[str],
    place: int,
) -> str:
    """What is shown of the command at a place of the words, or of all in the table."""
    prefix = "".join(f"{word} " for word in words[:place])
    hidden = machine.profile.rules.not_in_monitor
    if place >= len(words):
        lines = {
            command.name: f"{prefix}{_help_line(command)}"
            for name, command in table.items()
            if f"{prefix}{name}" not in hidden
        }
        return "".join(lines[name] for name in sorted(lines))
    name = words[place]
    if f"{prefix}{name}" in hidden or (name not in table and name not in unserved):
        return f"unknown command: '{prefix}{name}'\n"
    if name not in table:
        return f"{prefix}{name}  -- not served by qmpd\n"
    return f"{prefix}{_help_line(table[name])}"


def _help_line(command: HmpCommand) -> str:
    return f"{command.name} {command.usage} -- {command.summary}\n"


async def clear(machine: Machine, _: Arguments) -> str:
    """Clear the terminal, and what it has kept."""
    return "\x1b[H\x1b[2J\x1b[3J"


async def info_list(machine: Machine, arguments: Arguments) -> str:
    """List what info can show."""
    return await help_(machine, {"name": "info"})


_DEVICE: Final = Parameter("device", Kind.BLOCK_DEVICE)

COMMANDS: Final = by_name(
    HmpCommand(
        "qemu-io",
        qemu_io,
        (
            Parameter("qdev", Kind.FLAG, flag="d"),
            _DEVICE,
            Parameter("command", Kind.STRING),
        ),
        '[-d] [device] "[command]"',
        "run a qemu-io command on a block device",
    ),
    HmpCommand("commit", commit, (_DEVICE,), "device|all", "commit changes to backing files"),
    HmpCommand("stop|s", stop, summary="stop emulation"),
    HmpCommand("cont|c", cont, summary="resume emulation"),
    HmpCommand("quit|q", quit_, summary="quit the emulator"),
    HmpCommand("system_reset", system_reset, summary="reset the system"),
    HmpCommand("system_powerdown", system_powerdown, summary="send system power down event"),
    HmpCommand(
        "block_resize",
        block_resize,
        (_DEVICE, Parameter("size", Kind.SIZE)),
        "device size",
        "resize a block image",
    ),
    *(
        HmpCommand(
            f"block_job_{name}", _block_job(verb), (_DEVICE,), "device", f"{name} a block job"
        )
        for name, verb in (
            ("complete", JobTable.block_job_complete),
            ("pause", JobTable.block_job_pause),
            ("resume", JobTable.block_job_resume),
        )
    ),
    *FORMER,
    *REQUESTS,
    *PLUGGING,
    *NBD,
    *MIGRATION,
    *CHARDEVS,
    *GUEST_SIDE,
    *QOM,
    *SNAPSHOTS,
    HmpCommand(
        "help|?",
        help_,
        (Parameter("name", Kind.REST, optional=True),),
        "[cmd]",
        "show the help",
    ),
    HmpCommand("clear", clear, summary="clear the screen"),
    HmpCommand("info", info_list, (), "[subcommand]", "show various information"),
)

UNSERVED: Final = frozenset(
    """
    announce_self boot_set cancel_vcpu_dirty_limit client_migrate_info cpu
    dump-guest-memory dumpdtb expire_password gdbserver gpa2hpa gpa2hva gva2gpa
    host_net_redir hostfwd_add hostfwd_remove i log logfile mce memsave mouse_button mouse_move
    netdev_add o one-insn-per-tb p pcie_aer_inject_error pmemsave print qom-set replay_break
    replay_delete_break replay_seek set_password set_vcpu_dirty_limit stopcapture
    sum sync-profile trace-file wavcapture x x_colo_lost_heartbeat xen-event-inject
    xen-event-list xp
    acl_add acl_policy acl_remove acl_reset acl_show singlestep
    """.split()
)
"""Commands of any version of QEMU's human monitor that qmpd lacks."""
