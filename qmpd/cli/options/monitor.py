"""The monitors that ``-mon``, ``-qmp``, ``-monitor`` and ``--monitor`` ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qmpd.cli.report import CommandLineError, located
from qmpd.errors import GenericError, QmpError
from qmpd.options.qemu_opts import Opts, parse_option_bool

if TYPE_CHECKING:
    from qmpd.cli.options.chardev import ChardevFactory
    from qmpd.options.keyval import Tree
    from qmpd.server.server import Server

MODES = ("readline", "control")


class MonitorOptions(NamedTuple):
    """One monitor to make.

    :param chardev: id of its character device
    :param control: whether it is QMP rather than the human monitor
    :param pretty: whether replies are indented
    :param location: the option, which messages about it begin with
    """

    chardev: str
    control: bool
    pretty: bool
    location: str


def read_opts(opts: Opts, location: str) -> MonitorOptions:
    """Read the parameters of ``-mon``.

    :raises CommandLineError: with QEMU's text
    """
    values = dict(opts)
    return read_values(values, "readline", location)


def read_tree(tree: Tree, location: str) -> MonitorOptions:
    """Read the parameters of the storage daemon's ``--monitor``.

    :raises CommandLineError: with QEMU's text
    """
    values: dict[str, str] = {}
    for name in ("id", "mode", "pretty", "chardev"):
        value = tree.get(name)
        if value is None:
            continue
        if isinstance(value, bool) and name == "pretty":
            value = "on" if value else "off"
        if not isinstance(value, str):
            raise CommandLineError(
                f"Invalid parameter type for '{name}', expected: string", location=location
            )
        values[name] = value
    options = read_values(values, "control", location)
    for name in tree:
        if name not in ("id", "mode", "pretty", "chardev"):
            raise CommandLineError(f"Parameter '{name}' is unexpected", location=location)
    return options


def read_values(values: dict[str, str], default_mode: str, location: str) -> MonitorOptions:
    """Read parameters in the order in which QEMU checks them (``monitor_init``).

    :raises CommandLineError: with QEMU's text
    """
    mode = values.get("mode", default_mode)
    if mode not in MODES:
        raise CommandLineError(
            f"Parameter 'mode' does not accept value '{mode}'", location=location
        )
    try:
        pretty = parse_option_bool("pretty", values.get("pretty", "off"))
    except GenericError as error:
        raise located(error, location) from None
    if "chardev" not in values:
        raise CommandLineError("Parameter 'chardev' is missing", location=location)
    return MonitorOptions(values["chardev"], mode == "control", pretty, location)


def add_monitor(
    server: Server, factory: ChardevFactory, options: MonitorOptions, *, human: bool
) -> None:
    """Make the monitor.

    :param human: whether this program has the human monitor at all
    :raises CommandLineError: with QEMU's text
    """
    place = factory.frontend_place(options.chardev)
    if place is None:
        raise CommandLineError(f'chardev "{options.chardev}" not found', location=options.location)
    if not options.control and not human:
        raise CommandLineError("Only QMP is supported", location=options.location)
    if not options.control and options.pretty:
        raise CommandLineError(
            "'pretty' is not compatible with HMP monitors", location=options.location
        )
    chardev, multiplexed = place
    try:
        if options.control:
            server.add_qmp(chardev, pretty=options.pretty, oob=not multiplexed)
        else:
            server.add_hmp(chardev)
    except QmpError as error:
        raise located(error, options.location) from None
