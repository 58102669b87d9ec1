"""Options about a guest's hardware and surroundings, which are checked and then ignored.

A machine without a guest has no use for them.  They are accepted so that the command lines of
scripts work, and refused where QEMU would refuse them.  Options whose absence a client could
notice are refused altogether (`UNSERVED`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from qmpd.base.scalars import parse_bool, parse_int64
from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.listings import audio_drivers, displays, vgas
from qmpd.errors import GenericError
from qmpd.options import groups as groups
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import (
    OptionGroup,
    Opts,
    Warn,
    help_text,
    parse_option_number,
    parse_opts,
)

Check = Callable[[str, Warn], None]

UNSERVED: Final = {
    "add-fd": "file descriptor sets (-add-fd) are",
    "gdb": "the gdb stub (-gdb) is",
    "s": "the gdb stub (-s) is",
    "loadvm": "saved machine states (-loadvm) are",
    "dump-vmstate": "dumping the machine's state (-dump-vmstate) is",
    "icount": "instruction counting (-icount) is",
    "plugin": "TCG plugins (-plugin) are",
    "spice": "SPICE (-spice) is",
}
"""Options that are refused because a client could rely on their effect."""

COMPAT_VALUES: Final = {
    "deprecated-input": ("accept", "reject", "crash"),
    "deprecated-output": ("accept", "hide"),
    "unstable-input": ("accept", "reject", "crash"),
    "unstable-output": ("accept", "hide"),
}
"""Policies of ``-compat``."""

ACTIONS: Final = {
    "reboot": ("reset", "shutdown"),
    "shutdown": ("poweroff", "pause"),
    "panic": ("pause", "shutdown", "exit-failure", "none"),
    "watchdog": ("reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"),
}

DISPLAYS: Final = {
    "default": (),
    "none": (),
    "gtk": ("grab-on-hover", "zoom-to-fit", "show-tabs", "show-menubar", "scale"),
    "sdl": ("grab-mod",),
    "egl-headless": ("rendernode",),
    "curses": ("charset",),
    "spice-app": (),
    "dbus": ("rendernode", "addr", "p2p", "audiodev"),
}
"""Display types, and the parameters that only they have."""

_COMMON_DISPLAY: Final = ("type", "full-screen", "window-close", "show-cursor", "gl")

VGAS: Final = ("none", "std", "cirrus", "vmware", "xenfb", "qxl", "tcx", "cg3", "virtio")


def _opts(group: OptionGroup, text: str, warn: Warn) -> Opts:
    opts = parse_opts(group, text, warn)
    if opts.wants_help:
        raise Probe(help_text(group), 1)
    return opts


def _syntax(group: OptionGroup, text: str, warn: Warn) -> None:
    _opts(group, text, warn)


def _action(text: str, warn: Warn) -> None:
    for name, value in _opts(groups.ACTION, text, warn):
        if value not in ACTIONS[name]:
            raise CommandLineError(f"Parameter '{name}' does not accept value '{value}'")


def _watchdog_action(text: str, _warn: Warn) -> None:
    if text not in ACTIONS["watchdog"]:
        raise CommandLineError(f"Parameter 'watchdog' does not accept value '{text}'")


def _display(text: str, _warn: Warn) -> None:
    kind = text.split(",")[0].removeprefix("type=")
    if kind in ("help", "?"):
        raise Probe(displays())
    if kind.startswith("vnc"):
        _vnc(kind.partition("=")[2], _warn)
        return
    tree = parse_keyval(text, "type").tree
    if "type" not in tree:
        raise CommandLineError("Parameter 'type' is missing")
    if kind not in DISPLAYS:
        raise CommandLineError(f"Parameter 'type' does not accept value '{kind}'")
    for name in tree:
        if name not in (*_COMMON_DISPLAY, *DISPLAYS[kind]):
            raise CommandLineError(f"Parameter '{name}' is unexpected")


def _vnc(text: str, _warn: Warn) -> None:
    if text.split(",")[0] != "none":
        raise CommandLineError("VNC is not served by qmpd")


def _vga(text: str, _warn: Warn) -> None:
    if text in ("help", "?"):
        raise Probe(vgas())
    if text.split(",")[0] not in VGAS:
        raise CommandLineError(f"unknown vga type: {text}", location="")


def _seed(text: str, _warn: Warn) -> None:
    try:
        parse_option_number("seed", text)
    except GenericError:
        raise CommandLineError(f"Invalid seed number: {text}") from None


def _set(text: str, _warn: Warn) -> None:
    parts = text.partition("=")[0].split(".")
    if len(parts) != 3 or "=" not in text:
        raise CommandLineError(f'can\'t parse: "{text}"')
    group, name, _ = parts
    if group not in ("drive", "device", "chardev", "netdev", "mon", "net", "memory"):
        raise CommandLineError(f"There is no option group '{group}'")
    raise CommandLineError(f'there is no {group} "{name}" defined')


def _global(text: str, warn: Warn) -> None:
    driver, dot, rest = text.partition(".")
    if dot and "=" in rest and "=" not in driver:
        return
    opts = _opts(groups.GLOBAL, text, warn)
    if None in (opts.get("driver"), opts.get("property"), opts.get("value")):
        raise CommandLineError("options 'driver', 'property', and 'value' are required")


def _overcommit(text: str, warn: Warn) -> None:
    lock = _opts(groups.OVERCOMMIT, text, warn).get("mem-lock")
    if lock not in (None, "on", "off", "on-fault"):
        raise CommandLineError("parameter 'mem-lock' expects one of 'on', 'off', 'on-fault'")


def _incoming(text: str, _warn: Warn) -> None:
    channel, colon, _ = text.partition(":")
    known = ("tcp", "unix", "fd", "exec", "file", "rdma", "vsock")
    if not text:
        raise CommandLineError("Parameter 'channel-type' is missing")
    if text == "defer" or text.startswith("{") or (colon and channel in known):
        return
    raise CommandLineError(f"Parameter 'channel-type' does not accept value '{text}'")


def _audiodev(text: str, _warn: Warn) -> None:
    if text in ("help", "?"):
        raise Probe(audio_drivers())
    if not text.startswith("{") and "id" not in parse_keyval(text, "driver").tree:
        raise CommandLineError("Parameter 'id' is missing")


_BOOT_VALUES: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    "menu": (parse_bool, "'on' or 'off'"),
    "splash-time": (parse_int64, "integer"),
    "reboot-timeout": (parse_int64, "integer"),
    "strict": (parse_bool, "'on' or 'off'"),
}
"""Properties of ``-boot`` that are not texts: what reads them, and what they have to be."""


def _boot(text: str, _warn: Warn) -> None:
    tree = parse_keyval(text, "order").tree
    for name in tree:
        if name not in (groups.BOOT.kinds or {}):
            raise CommandLineError(f"Parameter 'boot.{name}' is unexpected", location="")
    for name, (parse, expected) in _BOOT_VALUES.items():
        try:
            parse(str(tree.get(name, "0" if parse is parse_int64 else "on")))
        except ValueError:
            wrong = f"Parameter 'boot.{name}' expects {expected}"
            raise CommandLineError(wrong, location="") from None
    for device in str(tree.get("order", "")):
        if not "a" <= device <= "p":
            raise CommandLineError(f"Invalid boot device '{device}'", location="")


def _readconfig(text: str, _warn: Warn) -> None:
    try:
        with open(text, encoding="utf-8") as file:
            sections = file.read().strip()
    except OSError as error:
        raise CommandLineError(f"Could not open '{text}': {error.strerror}") from None
    if sections:
        raise CommandLineError("configuration files (-readconfig) are not served by qmpd")


def _trace(text: str, warn: Warn) -> None:
    opts = _opts(groups.TRACE, text, warn)
    if opts.get("enable") is not None:
        warn(f"trace event '{opts.get('enable')}' does not exist", None)


def _library(text: str, _warn: Warn) -> None:
    if text in ("help", "?"):
        raise Probe("")


def _log_items(text: str, _warn: Warn) -> None:
    if text in ("help", "?"):
        raise CommandLineError("qmpd has no guest code to log")


CHECKS: Final[dict[str, Check]] = {
    "action": _action,
    "audiodev": _audiodev,
    "boot": _boot,
    "d": _log_items,
    "display": _display,
    "fw_cfg": partial(_syntax, groups.FW_CFG),
    "global": _global,
    "incoming": _incoming,
    "iscsi": partial(_syntax, groups.ISCSI),
    "L": _library,
    "m": partial(_syntax, groups.MEMORY),
    "overcommit": _overcommit,
    "readconfig": _readconfig,
    "rtc": partial(_syntax, groups.RTC),
    "run-with": partial(_syntax, groups.RUN_WITH),
    "sandbox": partial(_syntax, groups.SANDBOX),
    "seed": _seed,
    "set": _set,
    "trace": _trace,
    "vga": _vga,
    "vnc": _vnc,
    "watchdog-action": _watchdog_action,
}
