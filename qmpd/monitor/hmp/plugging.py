"""HMP commands that plug in devices, and add and remove drives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.change.blockdev import blockdev_del
from qmpd.block.io.backends import find_backend
from qmpd.block.model.blockers import Op
from qmpd.errors import GenericError, NotServed, QmpError
from qmpd.machine.devices.help import models_help, properties_help
from qmpd.machine.drives.hot import add_drive, add_drive_node, drive_options
from qmpd.machine.object_words import check_old_object, in_old_words, in_words_of_options
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, reported
from qmpd.monitor.hmp.line import Kind, Parameter, UsageError
from qmpd.monitor.hmp.reading import read
from qmpd.monitor.syncing import flush_ahead
from qmpd.options import groups
from qmpd.options.block_tree import parse_tree, read_tree_value
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import Opts, parse_opts, silent

if TYPE_CHECKING:
    from qmpd.block.io.backend import BlockBackend
    from qmpd.machine.machine import Machine
    from qmpd.profile import Profile


def _warn(shown: list[str], machine: Machine, text: str, hint: str | None) -> None:
    """Add a warning as QEMU's ``warn_report`` words it, with its hint."""
    if machine.profile.rules.holds("short-boolean-options"):
        shown.append(f"warning: {text}\n" + (f"{hint}\n" if hint else ""))


def _device_options(machine: Machine, text: str) -> Opts:
    """Read the options of a device.

    :raises UsageError: they are malformed, which is told on standard error
    """
    complaints: list[str] = []
    try:
        kept = machine.profile.rules.holds("devices-keep-their-options")
        ids = machine.devices.peripheral if kept else ()
        return parse_opts(groups.DEVICE, text, partial(_warn, complaints, machine), ids=ids)
    except GenericError as error:
        complaints.append(error.report)
        raise UsageError("", bare=True, ends=False) from None
    finally:
        # the monitor is not yet the place to complain
        if complaints:
            machine.host.report("".join(complaints))


async def device_add(machine: Machine, arguments: Arguments) -> str:
    """Plug a device in, as -device does."""
    opts: Opts = arguments["device"]
    if opts.wants_help:
        return _help(machine.profile, opts.get("driver"))
    options = opts.to_dict()
    if "driver" not in options:
        raise GenericError("Parameter 'driver' is missing")
    await machine.devices.add(options, keyval=True)
    return ""


def _help(profile: Profile, driver: str | None) -> str:
    if driver is None:
        return models_help(profile)
    try:
        return properties_help(profile, driver)
    except QmpError as error:
        return f"{profile.rules.words(error.desc)}\n"


async def object_add(machine: Machine, arguments: Arguments) -> str:
    """Make a user-creatable object (``user_creatable_add_from_str``)."""
    options: str | Opts = arguments["object"]
    if isinstance(options, Opts):
        values = _values_by_options(machine, options)
    else:
        values = await _values_by_keyval(machine, options)
    machine.objects.add(values.pop("qom-type"), values.pop("id"), values)
    return ""


async def _values_by_keyval(machine: Machine, text: str) -> dict[str, Any]:
    """An object's options, which are JSON if they begin so."""
    as_json = text.startswith("{")
    if as_json:
        parse = partial(parse_tree, text, None, machine.profile.parse_json)
        tree = await read(machine, text, parse)
    else:
        parsed = await read(machine, text, partial(parse_keyval, text, "qom-type"))
        if parsed.wants_help:
            raise NotServed("qmpd does not show the help of objects in the human monitor")
        tree = dict(parsed.tree)
    reader = machine.profile.reader
    check = partial(read_tree_value, reader, "ObjectOptions", tree, keyval=not as_json)
    values: dict[str, Any] = await read(machine, text, check)
    return values


def _values_by_options(machine: Machine, opts: Opts) -> dict[str, Any]:
    """An object's options before 6.0 (``user_creatable_add_opts``)."""
    tree: dict[str, Any] = opts.to_dict()
    qom_type = check_old_object(machine.profile, machine.personality, tree)
    try:
        values: dict[str, Any] = read_tree_value(
            machine.profile.reader, "ObjectOptions", tree, keyval=True
        )
    except GenericError as error:
        raise in_words_of_options(in_old_words(error, qom_type)) from None
    return values


def _object_options(machine: Machine, text: str) -> Opts:
    """Read the options of an object.

    :raises UsageError: they are malformed, which is told on standard error
    """
    try:
        return parse_opts(groups.OBJECT, text, silent)
    except GenericError as error:
        machine.host.report(error.report)
        raise UsageError("", bare=True, ends=False) from None


async def drive_add(machine: Machine, arguments: Arguments) -> str:
    """Add a drive without a device, as -drive does, or a node."""
    shown: list[str] = []
    text: str = arguments["opts"]
    warn = partial(_warn, shown, machine)
    try:
        parse = partial(drive_options, text, warn, set(machine.drives.ids()))
        opts = await read(machine, text, parse)
    except NotServed:
        raise
    except QmpError as error:
        return "".join([*shown, error.report])
    add = add_drive_node if "node" in arguments else add_drive
    try:
        await machine.clock.completions.patiently(add(machine.drives, opts))
        if add is add_drive:
            shown.append("OK\n")
    except NotServed:
        raise
    except QmpError as error:
        shown.append(reported(machine, error.report))
    return "".join(shown)


async def drive_del(machine: Machine, arguments: Arguments) -> str:
    """Remove a drive or a node (``hmp_drive_del``); a device on the drive keeps an empty drive."""
    name = arguments["id"]
    await flush_ahead(machine, (name,))
    return await machine.clock.completions.patiently(_drive_del(machine, name))


async def _drive_del(machine: Machine, name: str) -> str:
    graph = machine.graph
    try:
        if graph.find_node(name) is not None:
            await blockdev_del(graph, name)
            return ""
        backend = find_backend(graph, name)
        if backend is None:
            raise GenericError(f"Device '{name}' not found")
        if backend.node is not None:
            backend.node.check_operation(Op.DRIVE_DEL)
    except QmpError as error:
        return reported(machine, f"{error.desc}\n")
    await _remove(backend)
    return ""


async def _remove(backend: BlockBackend) -> None:
    graph = backend.graph
    if backend.node is not None:
        await backend.remove_node()
    graph.make_anonymous(backend)
    if backend.device_id is None:
        await backend.close()
    else:
        # What its device asks for from now on fails, and must not stop the guest.
        backend.set_on_error("report", "report")


PLUGGING: Final = (
    HmpCommand(
        "device_add",
        device_add,
        (Parameter("device", Kind.OPTIONS),),
        "driver[,prop=value][,...]",
        "plug a device in, as -device does",
        options=_device_options,
    ),
    HmpCommand(
        "object_add",
        object_add,
        (
            Parameter("object", Kind.REST, rule="objects-by-keyval"),
            Parameter("object", Kind.OPTIONS, rule="objects-by-options"),
        ),
        "[qom-type=]type,id=str[,prop=value][,...]",
        "make an object",
        options=_object_options,
    ),
    HmpCommand(
        "object_del",
        None,
        (Parameter("id", Kind.STRING),),
        "id",
        "take an object away",
        lambda _, arguments: ("object-del", arguments),
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
