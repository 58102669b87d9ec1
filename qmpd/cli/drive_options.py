"""``-drive``: a node and the backend that a device or QMP finds it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qmpd.block.temporary import add_temporary_overlay
from qmpd.block.throttle import LIMIT_NAMES, ThrottleConfig
from qmpd.cli.block_options import read_tree_value
from qmpd.cli.board_drives import Drive
from qmpd.cli.keyval import parse_keyval
from qmpd.cli.opts import Opts, parse_bool, parse_number
from qmpd.cli.report import CommandLineError
from qmpd.devices.board import IDE_UNITS
from qmpd.errors import GenericError

if TYPE_CHECKING:
    from qmpd.block.backend import BlockBackend
    from qmpd.server.server import Server

INTERFACES: Final = {
    "none": 0,
    "ide": 2,
    "scsi": 7,
    "floppy": 0,
    "pflash": 0,
    "mtd": 0,
    "sd": 0,
    "virtio": 0,
    "xen": 0,
}
"""Kinds of drives, and how many units a bus of each has (0: one bus for all)."""

ALIASES: Final = {
    "iops": "throttling.iops-total",
    "iops_rd": "throttling.iops-read",
    "iops_wr": "throttling.iops-write",
    "bps": "throttling.bps-total",
    "bps_rd": "throttling.bps-read",
    "bps_wr": "throttling.bps-write",
    "iops_max": "throttling.iops-total-max",
    "iops_rd_max": "throttling.iops-read-max",
    "iops_wr_max": "throttling.iops-write-max",
    "bps_max": "throttling.bps-total-max",
    "bps_rd_max": "throttling.bps-read-max",
    "bps_wr_max": "throttling.bps-write-max",
    "iops_size": "throttling.iops-size",
    "group": "throttling.group",
    "readonly": "read-only",
}
"""Older names of parameters."""

CACHE_MODES: Final = {
    "none": (True, False, True),
    "off": (True, False, True),
    "writeback": (False, False, True),
    "unsafe": (False, True, True),
    "writethrough": (False, False, False),
    "directsync": (True, False, False),
}
"""cache=: cache.direct, cache.no-flush, writeback."""

_ERROR_ACTIONS: Final = {
    "rerror": ("read", ("ignore", "stop", "report")),
    "werror": ("write", ("ignore", "stop", "enospc", "report")),
}

_OWN: Final = frozenset(
    "if bus unit index media file format driver snapshot aio cache cache.writeback read-only"
    " rerror werror copy-on-read detect-zeroes discard stats-account-invalid stats-account-failed"
    " id".split(" ")
)
"""Parameters that are the drive's and not the block driver's."""


@dataclass
class Added:
    """What making a drive has led to.

    :param device: model of the device that is to be made for it
    :param name: name of its backend
    :param disabled: what it was asked for and does not get
    :param warning: what is to be printed as it is
    """

    device: str | None
    name: str
    disabled: str | None = None
    warning: str | None = None


_DEVICES: Final = {"virtio": "virtio-blk-pci", "xen": "xen-disk"}
"""Models of the devices that are made for drives as if ``-device`` had asked for them."""


@dataclass
class Drives:
    """The drives of one machine.

    :param server: whose machine gets them
    :param snapshot: whether what is written to them is temporary unless they say otherwise
    """

    server: Server
    snapshot: bool = False

    def __post_init__(self) -> None:
        self.made: list[Drive] = []
        board = self.server.machine.devices.board
        self._default_interface = "none" if board.type == "none" else "ide"
        self._units = INTERFACES | {"ide": IDE_UNITS.get(board.type, INTERFACES["ide"])}

    def find(self, interface: str, index: int) -> Drive | None:
        """The drive of this kind at a place that is told by one number."""
        bus, unit = self._split(interface, index)
        return self._at(interface, bus, unit)

    def _at(self, interface: str, bus: int, unit: int) -> Drive | None:
        place = (interface, bus, unit)
        return next((d for d in self.made if (d.interface, d.bus, d.unit) == place), None)

    def _split(self, interface: str, index: int) -> tuple[int, int]:
        units = self._units[interface]
        return divmod(index, units) if units else (0, index)

    def add(self, opts: Opts, location: str, *, is_default: bool = False) -> Added:
        """Open the drive that `opts` describe.

        :param location: the option, as messages begin with it
        :param is_default: whether nobody has asked for it
        :raises CommandLineError: with QEMU's text
        :raises GenericError: with QEMU's text
        """
        values = _rename(opts)
        if self.snapshot:
            values.setdefault("snapshot", "on")
        interface, bus, unit = self._place(values)
        media = values.get("media", "disk")
        name = opts.id or self._name(interface, bus, unit, media)
        for action in _ERROR_ACTIONS:
            if action in values and interface not in ("ide", "scsi", "virtio", "none"):
                raise CommandLineError(f"{action} is not supported by this bus type")
        options, guessed = self._node_options(values)
        limits = _limits(values)
        backend = self._backend(name)
        backend.read_only = parse_bool("read-only", values.get("read-only", "off"))
        backend.werror, backend.rerror = values.get("werror"), values.get("rerror")
        backend.stats.account_invalid = parse_bool(
            "stats-account-invalid", values.get("stats-account-invalid", "on")
        )
        backend.stats.account_failed = parse_bool(
            "stats-account-failed", values.get("stats-account-failed", "on")
        )
        if values.get("cache", "writeback") in ("writethrough", "directsync"):
            backend.enable_write_cache = False
        if limits is not None:
            group = values.get("throttling.group")
            backend.set_io_limits(limits, group, default_group=name)
        backend.removable = values.get("media") == "cdrom" or interface == "none"
        self.made.append(Drive(interface, bus, unit, media, backend, is_default, location))
        self.server.machine.devices.interfaces[backend] = interface
        added = Added(_DEVICES.get(interface), name)
        if options is None:
            return added
        node = self.server.run_now(self.server.machine.graph.open(options))
        backend.insert_node(node)
        if parse_bool("snapshot", values.get("snapshot", "off")):
            self.server.run_now(add_temporary_overlay(self.server.machine.graph, node))
        if parse_bool("copy-on-read", values.get("copy-on-read", "off")) and backend.node:
            if node.read_only:
                added.disabled = "disabling copy-on-read on read-only drive"
            else:
                backend.node.copy_on_read += 1
        if guessed and not node.read_only:
            added.warning = (
                f"WARNING: Image format was not specified for '{values['file']}' and probing"
                " guessed raw.\n         Automatically detecting the format is dangerous for raw"
                " images, write operations on block 0 will be restricted.\n         Specify the"
                " 'raw' format explicitly to remove the restrictions.\n"
            )
        return added

    def _backend(self, name: str) -> BlockBackend:
        from qmpd.block.backend import BlockBackend
        from qmpd.block.permissions import CONSISTENT_READ

        graph = self.server.machine.graph
        graph.check_backend_name(name)
        return BlockBackend(graph, name, perm=CONSISTENT_READ)

    def _place(self, values: dict[str, str]) -> tuple[str, int, int]:
        """Kind, bus and unit of the drive.

        :raises CommandLineError: the place is taken, or does not exist
        """
        media = values.get("media", "disk")
        if media not in ("disk", "cdrom"):
            raise CommandLineError(f"'{media}' invalid media")
        if media == "cdrom":
            values["read-only"] = "on"
        interface = values.get("if", self._default_interface)
        if interface not in INTERFACES:
            raise CommandLineError(f"unsupported bus type '{interface}'")
        units = self._units[interface]
        bus = _number(values, "bus", 0)
        unit = _number(values, "unit", -1)
        index = _number(values, "index", -1)
        if index != -1:
            if bus != 0 or unit != -1:
                raise CommandLineError("index cannot be used with bus and unit")
            bus, unit = self._split(interface, index)
        if unit == -1:
            unit = 0
            while self._at(interface, bus, unit):
                unit += 1
                if units and unit >= units:
                    unit, bus = 0, bus + 1
        if units and unit >= units:
            raise CommandLineError(f"unit {unit} too big (max is {units - 1})")
        if self._at(interface, bus, unit):
            at = bus * units + unit if units else unit
            raise CommandLineError(f"drive with bus={bus}, unit={unit} (index={at}) exists")
        return interface, bus, unit

    def _name(self, interface: str, bus: int, unit: int, media: str) -> str:
        """The name of a drive that nobody has named."""
        kind = ("-cd" if media == "cdrom" else "-hd") if interface in ("ide", "scsi") else ""
        return (
            f"{interface}{bus}{kind}{unit}"
            if self._units[interface]
            else f"{interface}{kind}{unit}"
        )

    def _node_options(self, values: dict[str, str]) -> tuple[dict[str, Any] | None, bool]:
        """Options of the node, and whether its format was guessed; None: an empty drive.

        :raises CommandLineError: with QEMU's text
        """
        _check_actions(values)
        tree = _cache_options(values)
        given_format, driver = values.get("format"), values.get("driver")
        if given_format is not None and driver is not None:
            raise CommandLineError("Cannot specify both 'driver' and 'format'")
        given_format = given_format or driver
        rest = {
            name: value
            for name, value in values.items()
            if name not in _OWN and not name.startswith("throttling.")
        }
        file = values.get("file") or None
        tree.update(_unflatten(rest))
        if file is None and "file" not in tree and given_format is None:
            if not rest and "cache" not in values:
                return None, False
            raise CommandLineError("Must specify either driver or file")
        return self._complete(tree, file, given_format)

    def _complete(
        self, tree: dict[str, Any], file: str | None, given_format: str | None
    ) -> tuple[dict[str, Any], bool]:
        guessed = False
        child = tree.get("file")
        if file is not None:
            if isinstance(child, dict):
                raise CommandLineError(
                    "Can't specify 'file' and 'filename' options at the same time"
                )
            child = {"driver": "file", "filename": file}
        elif isinstance(child, dict):
            child.setdefault("driver", "file")
        if given_format is None:
            name = str(child["filename"]) if isinstance(child, dict) else ""
            given_format = self._guess_format(name)
            guessed = given_format == "raw"
        tree["driver"] = given_format
        if child is not None:
            tree["file"] = child
        partial = _take_partial_backing(tree)
        try:
            options = read_tree_value("block_core:BlockdevOptions", tree, keyval=True)
            if partial is not None:
                options["backing"] = partial
        except GenericError as error:
            raise _reworded(error, given_format) from None
        return options, guessed

    def _guess_format(self, filename: str) -> str:
        image = self.server.machine.graph.storage.open(filename, read_only=True)
        try:
            return "qcow2" if image.pread(0, 4) == b"QFI\xfb" else "raw"
        finally:
            image.close()


def _take_partial_backing(tree: dict[str, Any]) -> dict[str, Any] | None:
    """Take options of the backing file that leave its driver and file to the image out of `tree`.

    :raises GenericError: they are malformed
    """
    backing = tree.get("backing")
    if not isinstance(backing, dict) or "driver" in backing:
        return None
    del tree["backing"]
    below = _take_partial_backing(backing)
    whole = {"driver": "qcow2", "file": "", **backing}
    options: dict[str, Any] = read_tree_value("block_core:BlockdevOptions", whole, keyval=True)
    partial = {name: value for name, value in options.items() if name in backing}
    if below is not None:
        partial["backing"] = below
    return partial


def _rename(opts: Opts) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in opts:
        values[name] = value
    for old, new in ALIASES.items():
        if old in values:
            if new in values:
                raise CommandLineError(
                    f"'{new}' and its alias '{old}' can't be used at the same time"
                )
            values[new] = values.pop(old)
    return values


def _number(values: dict[str, str], name: str, default: int) -> int:
    return parse_number(name, values[name]) if name in values else default


def _check_actions(values: dict[str, str]) -> None:
    if values.get("aio", "threads") not in ("threads", "native", "io_uring"):
        raise CommandLineError("invalid aio option")
    for name, (word, allowed) in _ERROR_ACTIONS.items():
        if name in values and values[name] not in allowed:
            raise CommandLineError(f"'{values[name]}' invalid {word} error action")
    if values.get("discard", "off") not in ("ignore", "off", "unmap", "on"):
        raise CommandLineError("Invalid discard option")
    if values.get("detect-zeroes", "off") not in ("off", "on", "unmap"):
        raise CommandLineError(f"invalid parameter value: {values['detect-zeroes']}")
    parse_bool("copy-on-read", values.get("copy-on-read", "off"))
    parse_bool("snapshot", values.get("snapshot", "off"))
    for name in ("stats-account-invalid", "stats-account-failed"):
        parse_bool(name, values.get(name, "on"))


def _limits(values: dict[str, str]) -> ThrottleConfig | None:
    """The limits that the drive asks for.

    :raises CommandLineError: a limit is no number
    :raises GenericError: they contradict each other
    """
    prefix = "throttling."
    given = {
        name.removeprefix(prefix): parse_number(name, value)
        for name, value in values.items()
        if name.startswith(prefix) and name != "throttling.group"
    }
    if not given:
        return None
    for name in given:
        if name not in LIMIT_NAMES:
            raise CommandLineError(f"Invalid parameter 'throttling.{name}'")
    config = ThrottleConfig()
    config.update(given)
    config.check()
    return config


def _cache_options(values: dict[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {"read-only": values.get("read-only", "off")}
    parse_bool("read-only", tree["read-only"])
    mode = values.get("cache", "writeback")
    if mode not in CACHE_MODES:
        raise CommandLineError("invalid cache option")
    direct, no_flush, _ = CACHE_MODES[mode]
    tree["cache"] = {"direct": _word(direct), "no-flush": _word(no_flush)}
    if "discard" in values:
        tree["discard"] = "unmap" if values["discard"] in ("unmap", "on") else "ignore"
    if "detect-zeroes" in values:
        tree["detect-zeroes"] = values["detect-zeroes"]
    return tree


def _word(flag: bool) -> str:
    return "on" if flag else "off"


def _unflatten(values: dict[str, str]) -> dict[str, Any]:
    text = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in values.items())
    return dict(parse_keyval(text).tree)


def _reworded(error: GenericError, driver: str) -> CommandLineError:
    """What the old option says of what the schema refuses."""
    text = error.desc
    if text == "Parameter 'file' is missing":
        return CommandLineError('A block device must be specified for "file"')
    if text.endswith("' is unexpected"):
        name = text.split("'")[1]
        return CommandLineError(f"Block format '{driver}' does not support the option '{name}'")
    if text.startswith("Parameter 'driver' does not accept value"):
        return CommandLineError(f"Unknown driver '{text.split(chr(39))[3]}'")
    return CommandLineError(text)
