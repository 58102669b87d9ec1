"""HMP, the human monitor: one line in, text out.

It serves both QMP's human-monitor-command and interactive monitors.  What QEMU prints in the
monitor is returned; what its qemu-io prints on the process's standard output or error goes to the
machine's host.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from qmpd.errors import QmpError
from qmpd.monitor.hmp.command_table import Arguments, Ask, HmpCommand, Suspending
from qmpd.monitor.hmp.commands import COMMANDS, UNSERVED
from qmpd.monitor.hmp.info import INFO, UNSERVED_INFO
from qmpd.monitor.hmp.line import Line, TooWide, UsageError

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

__all__ = ["run"]

LONG_TEXT: Final = 1 << 16
"""Characters from which on what is shown is long."""


async def run(machine: Machine, command_line: str, ask: Ask) -> str:
    """Run `command_line` and return what the monitor shows, lines ending in CRLF.

    :param ask: runs a QMP command
    """
    rules = machine.profile.rules
    line = Line(command_line, rules, machine.host.print)
    complaints = machine.hmp_output = []
    try:
        text = await _run(machine, line, ask)
    except UsageError as error:
        text = error.text
    except QmpError as error:
        text = f"Error: {rules.words(error.report)}"
    finally:
        machine.hmp_output = None
    if rules.rewords_monitor and not isinstance(text, Suspending):
        text = rules.monitor_words(text)
    if isinstance(text, Suspending):
        for complaint in complaints:
            machine.host.report(complaint)
        return text.with_line_ends()
    shown = [*complaints, text]
    if sum(map(len, shown)) < LONG_TEXT:
        return "".join(shown).replace("\n", "\r\n")
    return await machine.host.apart.do(partial(_with_line_ends, shown))


def _with_line_ends(texts: Iterable[str]) -> str:
    """A long text with CRLF at the ends of lines, in steps that hold nobody up."""
    pieces = (
        text[start : start + LONG_TEXT].replace("\n", "\r\n")
        for text in texts
        for start in range(0, len(text), LONG_TEXT)
    )
    return "".join(pieces)


async def _run(machine: Machine, line: Line, ask: Ask) -> str:
    name = line.command_name()
    if not name and line.at_end():
        return ""
    command = COMMANDS.get(name)
    unserved = name in UNSERVED
    if name == "info" and not line.at_end():
        sub = line.command_name()
        command, unserved, name = INFO.get(sub), sub in UNSERVED_INFO, f"info {sub}"
    if (command is None and not unserved) or name in machine.profile.rules.not_in_monitor:
        return f"unknown command: '{line.begin()}'\n"
    if command is None:
        return f"Error: qmpd does not serve the HMP command '{name}'\n"
    arguments = _arguments(machine, command, line)
    if command.request is not None:
        asked, given = command.request(machine, arguments)
        try:
            value = await ask(asked, given)
        except QmpError as error:
            raise machine.profile.rules.in_its_words(error, asked) from error.__cause__
        if command.show is not None:
            return command.show(value)
        if command.handler is None:
            return ""
    assert command.handler is not None
    return await command.handler(machine, arguments)


def _arguments(machine: Machine, command: HmpCommand, line: Line) -> Arguments:
    path = line.begin()
    read_options = None if command.options is None else partial(command.options, machine)
    try:
        return line.arguments(command.parameters, read_options)
    except UsageError as error:
        begin = "" if error.bare else f"{command.name}: "
        if isinstance(error, TooWide):
            begin = f"'{command.name}' has failed: "
        end = "\n" if error.ends else ""
        text = f'{begin}{error.text}{end}Try "help {path}" for more information\n'
        raise UsageError(text) from None
