"""``-global``: values for properties of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.machine.devices.globals import Global, Globals
from qmpd.options import groups
from qmpd.options.qemu_opts import parse_opts, silent

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine


def read_global(text: str) -> Global:
    """``DRIVER.PROPERTY=VALUE``, or the three as options, which have been checked."""
    driver, dot, rest = text.partition(".")
    if dot and "=" in rest and "=" not in driver:
        name, _, value = rest.partition("=")
        return Global(driver, name, value)
    opts = parse_opts(groups.GLOBAL, text, silent)
    return Global(opts.get("driver") or "", opts.get("property") or "", opts.get("value") or "")


def set_globals(machine: Machine, texts: list[str]) -> Globals:
    """Have the machine's devices obey ``-global``."""
    values = Globals([read_global(text) for text in texts], machine.profile)
    machine.devices.globals = values
    return values
