"""HMP, the human monitor: one line in, text out.

It serves both QMP's human-monitor-command and interactive monitors.  What QEMU prints in the
monitor is returned; what its qemu-io prints on the process's standard output or error goes to the
machine's host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from qmpd.errors import QmpError
from qmpd.monitor.hmp.command_table import Arguments, Ask, HmpCommand, Suspending
from qmpd.monitor.hmp.commands import COMMANDS, UNSERVED
from qmpd.monitor.hmp.info import INFO, UNSERVED_INFO
from qmpd.monitor.hmp.line import Kind, Line, TooWide, UsageError
from qmpd.monitor.hmp.reading import read

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine
    from qmpd.profile.profile import Profile
    from qmpd.profile.rules import Rules

__all__ = ["run"]

LONG_TEXT: Final = 1 << 16
"""Characters from which on what is shown is long."""


class _Parsed(NamedTuple):
    """What a line asks for.

    :param path: how it names the command
    :param options: an argument that is options of a group: who reads them looks at the machine
    :param wrong: what is wrong with the arguments, apart from that
    :param shown: pieces of what is shown instead of running it
    :param printed: what the process says of the line
    """

    command: HmpCommand | None = None
    path: str = ""
    arguments: Arguments = {}
    options: Sequence[str] = ()
    wrong: UsageError | None = None
    shown: tuple[str, ...] = ()
    printed: Sequence[str] = ()


async def run(machine: Machine, command_line: str, ask: Ask) -> str:
    """Run `command_line` and return what the monitor shows, lines ending in CRLF.

    :param ask: runs a QMP command
    """
    rules = machine.profile.rules
    shown: Sequence[str]
    with machine.complaints.shown() as complaints:
        try:
            parse = partial(_parse, machine.profile, command_line)
            parsed = await read(machine, command_line, parse)
            shown = parsed.shown
            if parsed.command is not None:
                text = await _run(machine, parsed, parsed.command, ask)
                if isinstance(text, Suspending):
                    for complaint in complaints:
                        machine.host.report(complaint)
                    return text.with_line_ends()
                shown = (text,)
        except UsageError as error:
            shown = (error.text,)
        except QmpError as error:
            shown = ("Error: ", rules.words(error.report))
    if sum(map(len, complaints)) + sum(map(len, shown)) < LONG_TEXT:
        return _worded(rules, complaints, shown)
    return await machine.host.apart.do(partial(_worded, rules, complaints, shown))


def _worded(rules: Rules, complaints: Sequence[str], shown: Sequence[str]) -> str:
    """What is shown, in the words of a version, with CRLF at the ends of lines."""
    if rules.rewords_monitor:
        shown = (rules.monitor_words("".join(shown)),)
    texts = (*complaints, *shown)
    if len(texts) == 1 and len(texts[0]) < LONG_TEXT:
        return texts[0].replace("\n", "\r\n")
    return _with_line_ends(texts)


def _with_line_ends(texts: Iterable[str]) -> str:
    """A long text with CRLF at the ends of lines, in steps that hold nobody up."""
    pieces = (
        text[start : start + LONG_TEXT].replace("\n", "\r\n")
        for text in texts
        for start in range(0, len(text), LONG_TEXT)
    )
    return "".join(pieces)


def _parse(profile: Profile, command_line: str) -> _Parsed:
    """Read a line, in a thread where it is long."""
    printed: list[str] = []
    line = Line(command_line, profile.rules, printed.append)
    name = line.command_name()
    if not name and line.at_end():
        return _Parsed()
    command = COMMANDS.get(name)
    unserved = name in UNSERVED
    if name == "info" and not line.at_end():
        sub = line.command_name()
        command, unserved, name = INFO.get(sub), sub in UNSERVED_INFO, f"info {sub}"
    if (command is None and not unserved) or name in profile.rules.not_in_monitor:
        return _Parsed(shown=("unknown command: '", line.begin(), "'\n"))
    if command is None:
        return _Parsed(shown=(f"Error: qmpd does not serve the HMP command '{name}'\n",))
    path, options = line.begin(), list[str]()
    wrong: UsageError | None = None
    arguments: Arguments = {}
    try:
        arguments = line.arguments(command.parameters, options.append)
    except UsageError as error:
        wrong = _told(command, path, error)
    return _Parsed(command, path, arguments, options, wrong, printed=printed)


async def _run(machine: Machine, parsed: _Parsed, command: HmpCommand, ask: Ask) -> str:
    for said in parsed.printed:
        machine.host.print(said)
    arguments = _with_options(machine, parsed, command)
    if parsed.wrong is not None:
        raise parsed.wrong
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


def _with_options(machine: Machine, parsed: _Parsed, command: HmpCommand) -> Arguments:
    """The arguments, options of a group among them.

    :raises UsageError: these cannot be read
    :raises QmpError: the same
    """
    if not parsed.options:
        return parsed.arguments
    arguments = dict(parsed.arguments)
    for text in parsed.options:
        try:
            value = text if command.options is None else command.options(machine, text)
        except UsageError as error:
            raise _told(command, parsed.path, error) from None
        name = next(each.name for each in command.parameters if each.kind is Kind.OPTIONS)
        arguments[name] = value
    return arguments


def _told(command: HmpCommand, path: str, error: UsageError) -> UsageError:
    """What the monitor shows of an error in the arguments of a command."""
    begin = "" if error.bare else f"{command.name}: "
    if isinstance(error, TooWide):
        begin = f"'{command.name}' has failed: "
    end = "\n" if error.ends else ""
    return UsageError(f'{begin}{error.text}{end}Try "help {path}" for more information\n')
