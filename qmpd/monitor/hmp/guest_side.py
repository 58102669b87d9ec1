"""HMP commands for what is around a guest: keys, mice, balloon, network, watchdog, trace events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.machine.tracing import set_trace_events
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand, enum_values, with_same_arguments
from qmpd.monitor.hmp.line import Kind, Parameter, UsageError

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

_NUMBER: Final = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)


def _send_key(machine: Machine, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    """Keys by their names, or by numbers (``hmp_sendkey``)."""
    names = enum_values(machine, "QKeyCode")
    keys: list[dict[str, Any]] = []
    for word in arguments["keys"].split("-"):
        name = "less" if word == "<" else word
        if _NUMBER.fullmatch(name) and int(name, 16) < 1 << 31:
            keys.append({"type": "number", "data": int(name, 16)})
        elif name in names and not name.startswith("0x"):
            keys.append({"type": "qcode", "data": name})
        else:
            raise UsageError(f"invalid parameter: {name}\n")
    held = {"hold-time": arguments["hold-time"]} if "hold-time" in arguments else {}
    return "send-key", {"keys": keys, **held}


def _watchdog(machine: Machine, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    action = arguments["action"]
    if action not in enum_values(machine, "WatchdogAction"):
        if machine.profile.rules.holds("unknown-watchdog-action"):
            raise UsageError(f"Unknown watchdog action '{action}'\n")
        raise GenericError(f"invalid parameter value: {action}")
    return "watchdog-set-action", {"action": action}


async def trace_event(machine: Machine, arguments: Arguments) -> str:
    """Switch trace events on or off (``hmp_trace_event``)."""
    name, enable, vcpu = arguments["name"], arguments["option"], arguments.get("vcpu")
    if not machine.profile.rules.holds("trace-event-of-a-processor"):
        vcpu = None
    elif vcpu is not None and vcpu < 0:
        return "argument vcpu must be positive"
    try:
        set_trace_events(machine, name, vcpu, enable=enable, ignore_unavailable=True)
    except GenericError as error:
        return f"{error.desc}\n"
    return ""


async def mouse_set(machine: Machine, arguments: Arguments) -> str:
    """Use another pointing device."""
    try:
        machine.devices.inputs.choose(arguments["index"])
    except GenericError as error:
        if not machine.profile.rules.holds("mice-are-reported"):
            raise
        return f"{error.desc}\n"
    return ""


async def calc_dirty_rate(machine: Machine, arguments: Arguments) -> str:
    """Begin to measure how much the guest writes (``hmp_calc_dirty_rate``)."""
    seconds = arguments["second"]
    if not seconds:
        return "Incorrect period length specified!\n"
    if "dirty_ring" in arguments and "dirty_bitmap" in arguments:
        return "Either dirty ring or dirty bitmap can be specified!\n"
    mode = "dirty-ring" if "dirty_ring" in arguments else "page-sampling"
    if "dirty_bitmap" in arguments:
        mode = "dirty-bitmap"
    pages = arguments.get("sample_pages_per_GB", -1)
    machine.guest_side.dirty_rate.begin(seconds, "second", None if pages == -1 else pages, mode)
    return (
        f"Starting dirty rate measurement with period {seconds} seconds\n"
        "[Please use 'info dirty_rate' to check results]\n"
    )


def _screendump(machine: Machine, arguments: Arguments) -> tuple[str, dict[str, Any]]:
    asked = {"filename": arguments["filename"]}
    if "format" in arguments:
        if arguments["format"] not in enum_values(machine, "ImageFormat"):
            raise GenericError(f"invalid parameter value: {arguments['format']}")
        asked["format"] = arguments["format"]
    if "device" in arguments:
        return "screendump", {
            **asked,
            "device": arguments["device"],
            "head": arguments.get("head", 0),
        }
    return "screendump", asked


GUEST_SIDE: Final = (
    HmpCommand(
        "screendump",
        None,
        (
            Parameter("filename", Kind.FILENAME),
            Parameter("format", Kind.FLAG, flag="f", takes_text=True),
            Parameter("device", Kind.STRING, optional=True),
            Parameter("head", Kind.INTEGER32, optional=True),
        ),
        "filename [-f format] [device [head]]",
        "save what a display shows",
        _screendump,
    ),
    HmpCommand(
        "exit_preconfig",
        None,
        summary="leave the preconfig state",
        request=with_same_arguments("x-exit-preconfig"),
    ),
    HmpCommand(
        "calc_dirty_rate",
        calc_dirty_rate,
        (
            Parameter("dirty_ring", Kind.FLAG, flag="r"),
            Parameter("dirty_bitmap", Kind.FLAG, flag="b"),
            Parameter("second", Kind.INTEGER),
            Parameter("sample_pages_per_GB", Kind.INTEGER, optional=True),
        ),
        "[-r] [-b] second [sample_pages_per_GB]",
        "measure how much the guest writes to its memory",
    ),
    HmpCommand(
        "sendkey",
        None,
        (Parameter("keys", Kind.STRING), Parameter("hold-time", Kind.INTEGER32, optional=True)),
        "keys [hold_ms]",
        "press keys, such as ctrl-alt-f1, and let them go",
        _send_key,
    ),
    HmpCommand(
        "mouse_set",
        mouse_set,
        (Parameter("index", Kind.INTEGER32),),
        "index",
        "use another mouse",
    ),
    HmpCommand(
        "trace-event",
        trace_event,
        (
            Parameter("name", Kind.STRING),
            Parameter("option", Kind.BOOLEAN),
            Parameter("vcpu", Kind.INTEGER32, optional=True),
        ),
        "name on|off",
        "switch trace events on or off",
    ),
    HmpCommand(
        "watchdog_action",
        None,
        (Parameter("action", Kind.STRING),),
        "action",
        "say what is done when a watchdog expires",
        _watchdog,
    ),
    HmpCommand(
        "system_wakeup",
        None,
        summary="wake a sleeping guest up",
        request=with_same_arguments("system_wakeup"),
    ),
    HmpCommand(
        "nmi", None, summary="interrupt the guest", request=with_same_arguments("inject-nmi")
    ),
    HmpCommand(
        "balloon",
        None,
        (Parameter("value", Kind.MEBIBYTES),),
        "target",
        "ask the guest to make do with so much memory",
        with_same_arguments("balloon"),
    ),
    HmpCommand(
        "set_link",
        None,
        (Parameter("name", Kind.STRING), Parameter("up", Kind.BOOLEAN)),
        "name on|off",
        "plug the cable of a network adapter in, or pull it out",
        with_same_arguments("set_link"),
    ),
    HmpCommand(
        "netdev_del",
        None,
        (Parameter("id", Kind.STRING),),
        "id",
        "take a network backend away",
        with_same_arguments("netdev_del"),
    ),
)
"""The commands."""
