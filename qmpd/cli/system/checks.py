"""Options about a guest's hardware and surroundings, which are checked and then ignored.

A machine without a guest has no use for them.  They are accepted so that the command lines of
scripts work, and refused where QEMU would refuse them.  What is wrong only for some boards is
found later (`late_checks`).  Options whose absence a client could notice are refused altogether
(`UNSERVED`).
"""

from __future__ import annotations

import pwd
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from qmpd.base.scalars import parse_bool, parse_int64
from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.display_options import CHECKS as DISPLAY
from qmpd.cli.system.given import Given, help_of
from qmpd.cli.system.guest_files import CHECKS as GUEST_FILES
from qmpd.cli.system.guest_files import is_folder
from qmpd.cli.system.network_options import CHECKS as NETWORK
from qmpd.errors import GenericError
from qmpd.options import groups
from qmpd.options.keyval import parse_keyval
from qmpd.options.qemu_opts import (
    Kind,
    OptionGroup,
    parse_option_number,
    parse_option_size,
    parse_opts,
    silent,
)

Check = Callable[[str, Given], None]

UNSERVED: Final = {
    "gdb": "the gdb stub (-gdb) is",
    "s": "the gdb stub (-s) is",
    "dump-vmstate": "dumping the machine's state (-dump-vmstate) is",
    "icount": "instruction counting (-icount) is",
    "plugin": "TCG plugins (-plugin) are",
    "spice": "SPICE (-spice) is",
}
"""Options that are refused because a client could rely on their effect."""

ACTIONS: Final = {
    "reboot": ("reset", "shutdown"),
    "shutdown": ("poweroff", "pause"),
    "panic": ("pause", "shutdown", "exit-failure", "none"),
    "watchdog": ("reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"),
}


def _syntax(group: OptionGroup, text: str, given: Given) -> None:
    given.opts(group, text)


def _action(text: str, given: Given) -> None:
    for name, value in given.opts(groups.ACTION, text):
        if value not in ACTIONS[name]:
            raise CommandLineError(f"Parameter '{name}' does not accept value '{value}'")


def _watchdog_action(text: str, _given: Given) -> None:
    if text not in ACTIONS["watchdog"]:
        raise CommandLineError(f"Parameter 'watchdog' does not accept value '{text}'")


def _seed(text: str, _given: Given) -> None:
    try:
        parse_option_number("seed", text)
        if "-" in text:
            raise GenericError("no number below zero")
    except GenericError:
        raise CommandLineError(f"Invalid seed number: {text}") from None


def _global(text: str, given: Given) -> None:
    driver, dot, rest = text.partition(".")
    if dot and "=" in rest and "=" not in driver:
        return
    opts = given.opts(groups.GLOBAL, text)
    if None in (opts.get("driver"), opts.get("property"), opts.get("value")):
        raise CommandLineError("options 'driver', 'property', and 'value' are required")


def _overcommit(text: str, given: Given) -> None:
    lock = given.opts(groups.OVERCOMMIT, text).get("mem-lock")
    if lock not in (None, "on", "off", "on-fault"):
        raise CommandLineError("parameter 'mem-lock' expects one of 'on', 'off', 'on-fault'")


_BOOT_VALUES: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    "menu": (parse_bool, "'on' or 'off'"),
    "splash-time": (parse_int64, "integer"),
    "reboot-timeout": (parse_int64, "integer"),
    "strict": (parse_bool, "'on' or 'off'"),
}
"""Properties of ``-boot`` that are not texts: what reads them, and what they have to be."""


def _boot(text: str, given: Given) -> None:
    if given.profile.rules.holds("boards-by-options"):
        # help is a value there
        text = f"order={text}" if text == "help" else text
        given.parse(groups.BOOT, text)
    parsed = parse_keyval(text, "order")
    if parsed.wants_help:
        raise help_of(given.profile, groups.BOOT, 0)
    tree = parsed.tree
    for name in tree:
        if name not in (groups.BOOT.kinds or {}):
            raise CommandLineError(f"Parameter 'boot.{name}' is unexpected", location="")
    for name, (parse, expected) in _BOOT_VALUES.items():
        try:
            parse(str(tree.get(name, "0" if parse is parse_int64 else "on")))
        except ValueError:
            wrong = f"Parameter 'boot.{name}' expects {expected}"
            raise CommandLineError(wrong, location="") from None
    for name in ("order", "once"):
        _boot_devices(str(tree.get(name, "")))


def _memory(text: str, given: Given) -> None:
    opts = given.opts(groups.MEMORY, text)
    most, size = opts.get("maxmem"), opts.get("size") or "128"
    if most is None:
        if opts.get("slots") is not None:
            raise CommandLineError("slots specified but no max-size", location="")
        return
    first = parse_option_size("size", f"{size}M" if size.isdecimal() else size)
    last = parse_option_size("maxmem", most)
    if last < first:
        raise CommandLineError(
            f"invalid value of maxmem: maximum memory size ({last:#x}) must be at least the"
            f" initial memory size ({first:#x})",
            location="",
        )
    if last == first and (opts.number("slots") or 0):
        raise CommandLineError(
            "invalid value of maxmem: memory slots were specified but maximum memory size"
            f" ({last:#x}) is equal to the initial memory size ({first:#x})",
            location="",
        )


SANDBOX_VALUES: Final = {
    "obsolete": ("allow", "deny"),
    "elevateprivileges": ("allow", "deny", "children"),
    "spawn": ("allow", "deny"),
    "resourcecontrol": ("allow", "deny"),
}


def _sandbox(text: str, given: Given) -> None:
    opts = given.opts(groups.SANDBOX, text)
    if not opts.flag("enable"):
        return
    for name, values in SANDBOX_VALUES.items():
        value = opts.get(name)
        if value is not None and value not in values:
            raise CommandLineError(f"invalid argument for {name}")


_USER: Final = r"\d{1,9}:\d{1,9}"


def _run_with(text: str, given: Given) -> None:
    opts = given.opts(groups.RUN_WITH, text)
    user, root = opts.get("user"), opts.get("chroot")
    if user is not None and re.fullmatch(_USER, user) is None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise CommandLineError(
                f'User "{text}" doesn\'t exist (and is not <uid>:<gid>)'
            ) from None
    if root is not None and not is_folder(root):
        raise CommandLineError("chroot failed", location="")
    for name, value in (("chroot", root), ("user", user)):
        if value is not None:
            raise CommandLineError(f"-run-with {name}= is not served by qmpd", location="")


def _boot_devices(letters: str) -> None:
    for number, device in enumerate(letters):
        if not "a" <= device <= "p":
            raise CommandLineError(f"Invalid boot device '{device}'", location="")
        if device in letters[:number]:
            raise CommandLineError(f"Boot device '{device}' was given twice", location="")


_DATES: Final = (
    r"\s*[+-]?\d+-\s*[+-]?\d+-\s*[+-]?\d+T" + r":".join([r"\s*[+-]?\d+"] * 3),
    r"\s*[+-]?\d+-\s*[+-]?\d+-\s*[+-]?\d+",
)
"""How dates begin, with a time and without one."""

RTC_VALUES: Final = {"clock": ("host", "rt", "vm"), "driftfix": ("slew", "none")}


def _rtc(text: str, given: Given) -> None:
    opts = given.opts(groups.RTC, text)
    base = opts.get("base")
    if base not in (None, "utc", "localtime") and not any(re.match(d, base or "") for d in _DATES):
        raise CommandLineError(
            "invalid datetime format",
            "valid formats: '2006-06-17T16:01:21' or '2006-06-17'",
            location="",
        )
    for name, values in RTC_VALUES.items():
        value = opts.get(name)
        if value is not None and value not in values:
            raise CommandLineError(f"invalid option value '{value}'", location="")


_64_BITS: Final = (1 << 64) - 1


def _number(text: str) -> int | None:
    try:
        number = int(text, 0)
    except ValueError:
        return None
    return number if 0 <= number <= _64_BITS else None


def _log_ranges(text: str, _given: Given) -> None:
    for part in text.split(",") if text else ():
        separator = next((mark for mark in ("-", "+", "..") if mark in part), None)
        if separator is None:
            raise CommandLineError("Bad range specifier")
        left, _, right = part.partition(separator)
        second = _number(right)
        if second is None:
            raise CommandLineError(f"Invalid number to the right of {separator}")
        first = _number(left)
        if first is None:
            raise CommandLineError(f"Invalid number to the left of {separator}")
        low, high = {
            "-": ((first - second + 1) & _64_BITS, first),
            "+": (first, (first + second - 1) & _64_BITS),
            "..": (first, second),
        }[separator]
        if low > high:
            raise CommandLineError("Invalid range")


def _trace(text: str, given: Given) -> None:
    from qmpd.cli.options.trace import event_names, known_events, switch

    if text.removeprefix("enable=") in ("help", "?"):
        raise event_names(given.profile)
    enable = given.opts(groups.TRACE, text).get("enable")
    if enable is not None:
        switch(known_events(given.profile), enable, given.warn)
    for name, _ in parse_opts(groups.TRACE, text, silent):
        if name != "enable":
            raise CommandLineError(f"-trace {name}= is not served by qmpd", location="")


def _library(text: str, _given: Given) -> None:
    if text in ("help", "?"):
        raise Probe("")


def _numa(text: str, given: Given) -> None:
    from qmpd.cli.system.numa_options import check_numa

    check_numa(text, given)


def _smbios(text: str, given: Given) -> None:
    from qmpd.cli.system.smbios_options import check_smbios

    check_smbios(text, given)


_OPTION_ROM: Final = OptionGroup(
    "option-rom", "romfile", {"romfile": Kind.STRING, "bootindex": Kind.NUMBER}
)


def _option_rom(text: str, given: Given) -> None:
    if given.parse(_OPTION_ROM, text).get("romfile") is None:
        raise CommandLineError("Option ROM file is not specified")


CHECKS: Final[dict[str, Check]] = {
    "action": _action,
    "boot": _boot,
    "dfilter": _log_ranges,
    "global": _global,
    "iscsi": partial(_syntax, groups.ISCSI),
    "L": _library,
    "m": _memory,
    "numa": _numa,
    "option-rom": _option_rom,
    "overcommit": _overcommit,
    "rtc": _rtc,
    "run-with": _run_with,
    "sandbox": _sandbox,
    "seed": _seed,
    "smbios": _smbios,
    "trace": _trace,
    "watchdog-action": _watchdog_action,
    **DISPLAY,
    **GUEST_FILES,
    **NETWORK,
}
