"""``-d`` and ``-D``: what is logged of a guest's code, and where; qmpd has no such code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from qmpd.base.console import write
from qmpd.cli.report import CommandLineError, Probe
from qmpd.cli.system.listings import recorded_help

if TYPE_CHECKING:
    from qmpd.cli.report import Program
    from qmpd.cli.system.config import SystemConfig
    from qmpd.profile import Profile

_TRACE: Final = "trace:"


def check_log(program: Program, config: SystemConfig, profile: Profile) -> None:
    """Check the last ``-d`` and the last ``-D`` (``qemu_process_early_options``).

    :raises CommandLineError: with QEMU's text
    :raises Probe: there is no such item to log
    """
    items, files = config.hardware.get("d"), config.hardware.get("D")
    per_thread = items is not None and _check_items(items[-1], program, profile)
    if files is None:
        if per_thread:
            raise _needs_template()
        return
    name, percent, rest = files[-1].partition("%")
    if percent:
        if not rest.startswith("d") or "%" in rest:
            kind = "format" if profile.rules.holds("trace-help-goes-to-errors") else "template"
            raise CommandLineError(f"Bad logfile {kind}: {files[-1]}", location="")
        name += f"{os.getpid()}{rest[1:]}"
    elif per_thread:
        raise _needs_template()
    if not per_thread:
        _open(name, profile)


def _needs_template() -> CommandLineError:
    return CommandLineError("Filename template with '%d' required for 'tid'", location="")


def _check_items(text: str, program: Program, profile: Profile) -> bool:
    """``qemu_str_to_log_mask``; returns whether each thread has a log of its own."""
    listed = recorded_help(profile, "d")
    known = {line.split()[0] for line in listed.splitlines() if line}
    items = text.split(",")
    for item in items:
        if item.startswith(_TRACE) and item != _TRACE:
            _switch(item.removeprefix(_TRACE), program, profile)
        elif item != "all" and item not in known:
            raise Probe(listed, 1)
    return "tid" in known and not {"tid", "all"}.isdisjoint(items)


def _switch(events: str, program: Program, profile: Profile) -> None:
    from qmpd.cli.options.trace import event_names, known_events, switch

    if events in ("help", "?"):
        raise event_names(profile)
    switch(known_events(profile), events, lambda complaint: program.warn(complaint, ""))


def _open(name: str, profile: Profile) -> None:
    try:
        with open(name, "w", encoding="utf-8"):
            pass
    except OSError as error:
        if profile.rules.holds("trace-help-goes-to-errors"):
            write(sys.stderr, f"{name}: {error.strerror}\n")
            raise Probe("", 1) from None
        text = f"Error opening logfile {name}: {error.strerror}"
        raise CommandLineError(text, location="") from None
