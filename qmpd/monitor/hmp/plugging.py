"""HMP commands that plug devices in, and take drives away from under them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qmpd.block.model.blockers import Op
from qmpd.errors import GenericError, NotServed, QmpError
from qmpd.machine.drives.hot import add_drive, add_drive_node
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter, UsageError

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.machine import Machine

_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
_PAIR: Final = re.compile(r"([^=,]*)(=?)")
_VALUE: Final = re.compile(r"((?:[^,]|,,)*)(?:,|\Z)")
_HELP: Final = ("help", "?")


def _options(text: str) -> dict[str, str]:
    """Read ``driver,name=value,flag,noflag``; ``,,`` is a comma in a value.

    :raises NotServed: help is asked for
    """
    found: dict[str, str] = {}
    rest, first = text, True
    while rest:
        pair = _PAIR.match(rest)
        assert pair is not None
        name, has_value = pair.groups()
        if has_value or (first and name not in _HELP):
            value = _VALUE.match(rest, pair.end() if has_value else 0)
            assert value is not None
            found[name if has_value else "driver"] = value[1].replace(",,", ",")
            rest = rest[value.end() :]
        else:
            if name in _HELP:
                raise NotServed("qmpd does not show the help of devices in the human monitor")
            value_of_flag = ("off", name[2:]) if name.startswith("no") else ("on", name)
            found[value_of_flag[1]] = value_of_flag[0]
            rest = rest[pair.end() + 1 :]
        first = False
    return found


async def device_add(machine: Machine, arguments: Arguments) -> str:
    """Plug a device in, as -device does."""
    options = _options(arguments["device"])
    identifier = options.get("id")
    if identifier is not None and _IDENTIFIER.match(identifier) is None:
        # QEMU reads these with the line, and complains elsewhere.
        machine.stderr("Parameter 'id' expects an identifier\n")
        raise UsageError('Try "help device_add" for more information\n')
    if "driver" not in options:
        raise GenericError("Parameter 'driver' is missing")
    machine.devices.add(options, keyval=True)
    return ""


async def drive_add(machine: Machine, arguments: Arguments) -> str:
    """Add a drive without a device, as -drive does, or a node."""

    def warn(text: str, hint: str | None) -> None:
        machine.stderr(f"warning: {text}\n{hint or ''}\n")

    try:
        if "node" in arguments:
            await add_drive_node(machine.graph, arguments["opts"], warn)
            return ""
        await add_drive(machine.drives, arguments["opts"], warn)
    except NotServed:
        raise
    except QmpError as error:
        return f"{error.desc}\n" + (f"{error.hint}\n" if error.hint else "")
    return "OK\n"


async def drive_del(machine: Machine, arguments: Arguments) -> str:
    """Take a drive away, or a node; a device on the drive is left without a medium."""
    name = arguments["id"]
    graph = machine.graph
    try:
        if graph.find_node(name) is not None:
            await graph.blockdev_del(name)
            return ""
        backend = graph.backends.get(name)
        if backend is None:
            raise GenericError(f"Device '{name}' not found")
        if backend.node is not None:
            backend.node.check_operation(Op.DRIVE_DEL)
    except QmpError as error:
        return f"{error.desc}\n"
    await _remove(backend)
    return ""


async def _remove(backend: BlockBackend) -> None:
    graph = backend.graph
    if backend.device is None:
        await backend.close()
        return
    node = backend.node
    if node is not None:
        await graph.drained_begin(node)
        backend.remove_node()
        graph.drained_end(node)
        await graph.unref(node)
    graph.make_anonymous(backend)
    # What its device asks for from now on fails, and must not stop the guest.
    backend.reports_errors = True
    backend.device.io_status = None


PLUGGING: Final = (
    HmpCommand(
        "device_add",
        device_add,
        (Parameter("device", Kind.OPTIONS),),
        "driver[,prop=value][,...]",
        "plug a device in, as -device does",
    ),
    HmpCommand(
        "drive_add",
        drive_add,
        (
            Parameter("node", Kind.FLAG, flag="n"),
            Parameter("pci_addr", Kind.STRING),
            Parameter("opts", Kind.STRING),
        ),
        "[-n] dummy [file=file][,if=type][,id=name][,format=fmt][,...]",
        "add a drive",
    ),
    HmpCommand(
        "drive_del",
        drive_del,
        (Parameter("id", Kind.BLOCK_DEVICE),),
        "device",
        "take a drive away",
    ),
)
"""The commands."""
