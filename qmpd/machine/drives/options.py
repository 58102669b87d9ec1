"""``-drive``: a block backend, and the node in it (``drive_new``, ``blockdev_init``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qmpd.block.change.temporary import add_temporary_overlay
from qmpd.block.io.backend import BlockBackend
from qmpd.block.io.backends import backends
from qmpd.block.io.device_ops import DriveInfo
from qmpd.block.io.io_limits import set_io_limits
from qmpd.block.model.flat_options import FlatOptions, check_word
from qmpd.block.permission_bits import CONSISTENT_READ
from qmpd.block.throttle.limits import LIMIT_NAMES, ThrottleConfig
from qmpd.errors import GenericError
from qmpd.machine.devices.board import IDE_UNITS
from qmpd.machine.drives.board import Drive
from qmpd.machine.drives.node import open_drive_node
from qmpd.machine.drives.stats import INTERVALS, interval_seconds, split_intervals
from qmpd.options.qemu_opts import Kind, Opts, parse_option_bool, parse_option_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from qmpd.block.io.stats import BlockAcctStats
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.node import Node
    from qmpd.machine.devices.board import Board
    from qmpd.profile import Profile

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
    "werror": ("write", ("ignore", "stop", "enospc", "report")),
    "rerror": ("read", ("ignore", "stop", "report")),
}

_OWN: Final = frozenset(
    "if bus unit index media file format driver snapshot aio cache cache.writeback cache.direct"
    " cache.no-flush read-only"
    " rerror werror copy-on-read detect-zeroes discard stats-account-invalid stats-account-failed"
    " id".split(" ")
)
"""Parameters that are the drive's and not the block driver's."""


_THROTTLING: Final = {"throttling.group", *(f"throttling.{name}" for name in LIMIT_NAMES)}


_PLACE: Final = {
    **dict.fromkeys(("bus", "unit", "index"), Kind.NUMBER),
    **dict.fromkeys(("read-only", "copy-on-read"), Kind.BOOL),
}
_COMMON: Final = {
    **dict.fromkeys(
        (
            *("snapshot", "copy-on-read", "read-only", "cache.writeback"),
            *("stats-account-invalid", "stats-account-failed"),
        ),
        Kind.BOOL,
    ),
    **{f"throttling.{name}": Kind.NUMBER for name in LIMIT_NAMES},
}
"""What QEMU reads in one go, where the first malformed value decides."""


@dataclass
class Added:
    """A drive that was made, and what follows from it.

    :param device: model of the device that is to be made for it as if ``-device`` asked for it
    """

    info: DriveInfo
    backend: BlockBackend
    device: str | None


_DEVICES: Final = {"virtio": "virtio-blk-pci", "xen": "xen-disk"}
"""Models of the devices that are made for drives as if ``-device`` had asked for them."""


class Drives:
    """The drives of one machine, as ``-drive`` and HMP's drive_add make them.

    A drive is a backend with a `DriveInfo`; it ends with the backend.

    :param profile: whose types their options have
    """

    def __init__(self, graph: Graph, board: Board, profile: Profile) -> None:
        self.graph = graph
        self.profile = profile
        self._default_interface = "none" if board.type == "none" else "ide"
        self._units = INTERFACES | {"ide": IDE_UNITS.get(board.type, INTERFACES["ide"])}

    def __iter__(self) -> Iterator[Drive]:
        """All drives, the oldest first."""
        for backend in backends(self.graph):
            if backend.drive_info is not None:
                yield backend.drive_info, backend

    def find(self, interface: str, index: int) -> BlockBackend | None:
        """The drive of an interface at an `index` (``drive_get_by_index``)."""
        place = (interface, *self._split(interface, index))
        return next((b for d, b in self if (d.interface, d.bus, d.unit) == place), None)

    def _split(self, interface: str, index: int) -> tuple[int, int]:
        units = self._units[interface]
        return divmod(index, units) if units else (0, index)

    async def add(self, opts: Opts, location: str, *, is_default: bool = False) -> Added:
        """Make the drive that `opts` describe (``drive_new``); nothing is left of one that fails.

        :param location: the option, as messages begin with it
        :param is_default: whether it is one of the machine's default drives
        :raises QmpError: with QEMU's text
        """
        values = _rename(opts)
        cache = _cache_options(values)
        FlatOptions(values).take(_PLACE)
        interface, bus, unit = self._place(values)
        media = values.get("media", "disk")
        name = opts.id or self._name(interface, bus, unit, media)
        for action in _ERROR_ACTIONS:
            if action in values and interface not in ("ide", "scsi", "virtio", "none"):
                raise GenericError(f"{action} is not supported by this bus type")
        FlatOptions(values).take(_COMMON)
        intervals = split_intervals(values)
        _check_aio(values)
        limits = _limits(values)
        check_word(values.get("detect-zeroes", "off"), ("off", "on", "unmap"))
        options = _options_of_node(values, cache)
        _check_actions(values)
        node = await self._open(values, options) if options else None
        backend = BlockBackend(
            self.graph,
            "",
            perm=CONSISTENT_READ,
            read_only=parse_option_bool("read-only", values.get("read-only", "off")),
        )
        try:
            if node is not None:
                await backend.insert_node(node)
                node.flags = node.flags._replace(detect_zeroes=values.get("detect-zeroes", "off"))
                _set_up_stats(backend.stats, values, intervals)
            if limits is not None:
                group = values.get("throttling.group")
                await set_io_limits(backend, limits, group, default_group=name)
            backend.enable_write_cache = cache["cache.writeback"] == "on"
            backend.set_on_error(values.get("rerror", "report"), values.get("werror", "enospc"))
            self.graph.name_backend(backend, name)
        except BaseException:
            await backend.close()
            raise
        info = DriveInfo(interface, bus, unit, media, opts.id, is_default, location)
        backend.drive_info = info
        if node is not None and parse_option_bool("", values.get("copy-on-read", "off")):
            node.copy_on_read += 1
        return Added(info, backend, _DEVICES.get(interface))

    def ids(self) -> Collection[str]:
        """The ids that drives were given."""
        return {info.id for info, _ in self if info.id is not None}

    async def _open(self, values: dict[str, str], options: dict[str, str]) -> Node:
        """Open the node that the options describe, with an overlay where they ask for one."""
        graph = self.graph
        filename, aio = values.get("file") or None, values.get("aio")
        if not parse_option_bool("snapshot", values.get("snapshot", "off")):
            return await open_drive_node(graph, filename, options, aio)
        below = options | {"read-only": "on"}
        node = await open_drive_node(graph, filename, below, aio)
        read_only = parse_option_bool("", options["read-only"])
        return await add_temporary_overlay(graph, node, read_only=read_only)

    def _place(self, values: dict[str, str]) -> tuple[str, int, int]:
        """Interface, bus and unit of the drive.

        :raises GenericError: the place is taken, or does not exist
        """
        media = values.get("media", "disk")
        if media not in ("disk", "cdrom"):
            raise GenericError(f"'{media}' invalid media")
        if media == "cdrom":
            values["read-only"] = "on"
        read_only, copy_on_read = (
            parse_option_bool(name, values.get(name, "off"))
            for name in ("read-only", "copy-on-read")
        )
        if read_only and copy_on_read:
            text = "warning: disabling copy-on-read on read-only drive"
            self.graph.services.say.report(text)
            values["copy-on-read"] = "off"
        interface = values.get("if", self._default_interface)
        if interface not in INTERFACES:
            raise GenericError(f"unsupported bus type '{interface}'")
        units = self._units[interface]
        bus = _number(values, "bus", 0)
        unit = _number(values, "unit", -1)
        index = _number(values, "index", -1)
        if index != -1:
            if bus != 0 or unit != -1:
                raise GenericError("index cannot be used with bus and unit")
            bus, unit = self._split(interface, index)
        taken = {(drive.bus, drive.unit) for drive, _ in self if drive.interface == interface}
        if unit == -1:
            unit = 0
            while (bus, unit) in taken:
                unit += 1
                if units and unit >= units:
                    unit, bus = 0, bus + 1
        if units and unit >= units:
            raise GenericError(f"unit {unit} too big (max is {units - 1})")
        if (bus, unit) in taken:
            at = bus * units + unit if units else unit
            raise GenericError(f"drive with bus={bus}, unit={unit} (index={at}) exists")
        return interface, bus, unit

    def _name(self, interface: str, bus: int, unit: int, media: str) -> str:
        """The name of a drive without an id."""
        kind = ("-cd" if media == "cdrom" else "-hd") if interface in ("ide", "scsi") else ""
        return (
            f"{interface}{bus}{kind}{unit}"
            if self._units[interface]
            else f"{interface}{kind}{unit}"
        )


def _rename(opts: Opts) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in opts:
        values[name] = value
    for old, new in ALIASES.items():
        if old in values:
            if new in values:
                raise GenericError(f"'{new}' and its alias '{old}' can't be used at the same time")
            values[new] = values.pop(old)
    return values


def _number(values: dict[str, str], name: str, default: int) -> int:
    return parse_option_number(name, values[name]) if name in values else default


def _check_aio(values: dict[str, str]) -> None:
    if values.get("aio", "threads") not in ("threads", "native", "io_uring"):
        raise GenericError("invalid aio option")


def _check_actions(values: dict[str, str]) -> None:
    for name, (word, allowed) in _ERROR_ACTIONS.items():
        if name in values and values[name] not in allowed:
            raise GenericError(f"'{values[name]}' invalid {word} error action")


def _set_up_stats(
    stats: BlockAcctStats, values: dict[str, str], intervals: list[str | None]
) -> None:
    """Set up accounting; an empty drive keeps the defaults.

    :raises GenericError: an interval is not a number of seconds
    """
    for how in ("invalid", "failed"):
        name = f"stats-account-{how}"
        setattr(stats, f"account_{how}", parse_option_bool(name, values.get(name, "on")))
    for text in intervals:
        stats.add_interval(interval_seconds(text))


def _limits(values: dict[str, str]) -> ThrottleConfig | None:
    """The I/O limits among the options.

    :raises GenericError: a limit is not a number, or they contradict each other
    """
    prefix = "throttling."
    given = {
        name.removeprefix(prefix): parse_option_number(name, value)
        for name, value in values.items()
        if name.startswith(prefix) and name.removeprefix(prefix) in LIMIT_NAMES
    }
    if not given:
        return None
    config = ThrottleConfig()
    config.update(given)
    config.check()
    return config


def _cache_options(values: dict[str, str]) -> dict[str, str]:
    """What `cache` stands for, unless the options say otherwise themselves.

    :raises GenericError: there is no such mode
    """
    mode = values.get("cache", "writeback")
    if mode not in CACHE_MODES:
        raise GenericError("invalid cache option")
    names = ("cache.direct", "cache.no-flush", "cache.writeback")
    words = {
        name: "on" if flag else "off" for name, flag in zip(names, CACHE_MODES[mode], strict=True)
    }
    given = {name: values[name] for name in names if name in values}
    if "cache.writeback" in given:
        on = parse_option_bool("cache.writeback", given["cache.writeback"])
        given["cache.writeback"] = "on" if on else "off"
    return words | given


def _options_of_node(values: dict[str, str], cache: dict[str, str]) -> dict[str, str]:
    """The options that are left for the node."""
    given_format, driver = values.get("format"), values.get("driver")
    if given_format is not None and driver is not None:
        raise GenericError("Cannot specify both 'driver' and 'format'")
    rest = {
        name: value
        for name, value in values.items()
        if name not in _OWN and name not in _THROTTLING and not name.startswith(INTERVALS)
    }
    name = driver if given_format is None else given_format
    if name is not None:
        rest["driver"] = name
    if not rest and not values.get("file") and values.keys().isdisjoint(("cache", *cache)):
        return {}
    if "discard" in values:
        rest["discard"] = values["discard"]
    rest["read-only"] = values.get("read-only", "off")
    rest.setdefault("auto-read-only", "on")
    return rest | {name: cache[name] for name in ("cache.direct", "cache.no-flush")}
