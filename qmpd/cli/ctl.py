"""``qmpd ctl``: one command over a socket, for the shell."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError, QmpError, from_answer
from qmpd.options.keyval import parse_keyval
from qmpd.profile.shipped import load, load_control

if TYPE_CHECKING:
    from qmpd.profile import Profile
    from qmpd.qapi.runtime.entry_points import CommandInfo

DESCRIPTION = """\
Run COMMAND at the control monitor (or any other QMP monitor) that listens at PATH, and print
the value that it returns, as JSON. Where the command fails its text goes to standard error, and
the status is 1.
"""

EPILOG = """\
KEY=VALUE is an argument; the schema says what type it is. Members and elements inside are
a.b=VALUE and a.0=VALUE. A single JSON object stands for all arguments. With no COMMAND the
commands of the monitor are listed.

examples:
  qmpd ctl /tmp/ctl.sock x-sim-clock-advance seconds=2.5
  qmpd ctl /tmp/ctl.sock x-sim-disk-write disk=disk0 offset=0 pattern=1 length=65536
  qmpd ctl /tmp/ctl.sock x-sim-disk-flush '{"disk": "disk0"}'
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="qmpd ctl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--pretty", action="store_true", help="print the value over several lines")
    result.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        help="give up after so long without an answer (default: wait for ever)",
    )
    result.add_argument("path", metavar="PATH", help="the monitor's unix socket")
    result.add_argument("command", metavar="COMMAND", nargs="?", help="e.g. x-sim-query-clock")
    result.add_argument("arguments", metavar="KEY=VALUE", nargs="*", help="arguments of COMMAND")
    return result


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the process's status."""
    options = parser().parse_args(list(argv))
    try:
        if options.command is None:
            found = _ask(options.path, options.timeout, "query-commands", {})
            print("\n".join(sorted(entry["name"] for entry in found)))
            return 0
        arguments = read_arguments(options.command, options.arguments)
        value = _ask(options.path, options.timeout, options.command, arguments)
    except QmpError as error:
        sys.stderr.write(f"qmpd ctl: {error.report}")
        return 1
    except OSError as error:
        print(f"qmpd ctl: {options.path}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(json.dumps(value, indent=2 if options.pretty else None))
    return 0


def read_arguments(command: str, words: Sequence[str]) -> dict[str, Any]:
    """The arguments of a command, from what the shell gives.

    :param words: each ``KEY=VALUE``, or one JSON object
    :raises GenericError: they are not what the schema asks for; what is not in the schema is
        left to the other side, as text
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            arguments: dict[str, Any] = json.loads(words[0])
        except ValueError as error:
            raise GenericError(f"the arguments are no JSON object: {error}") from None
        return arguments
    # a comma belongs to its value: every word is one parameter
    tree = dict(parse_keyval(",".join(word.replace(",", ",,") for word in words)).tree)
    known = _find(command)
    if known is None:
        return tree
    profile, info = known
    if info.arguments is None or not info.gen:
        return tree
    from qmpd.qapi.runtime.visitor import InputVisitor

    value = InputVisitor(profile.types, keyval=True).read(info.arguments, tree)
    assert isinstance(value, dict)
    return value


def _find(command: str) -> tuple[Profile, CommandInfo] | None:
    for profile in (load_control(), load()):
        info = profile.entry_points.commands.get(command)
        if info is not None:
            return profile, info
    return None


def _ask(path: str, timeout: float | None, command: str, arguments: dict[str, Any]) -> Any:
    """Run a command in a session of its own.

    :raises OSError: nobody answers
    :raises QmpError: the command fails
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(path)
        with sock.makefile("rb") as lines:
            messages = (json.loads(line) for line in lines)
            _expect("QMP", messages)
            for name, values in (("qmp_capabilities", {}), (command, arguments)):
                request = {"execute": name, "arguments": values}
                sock.sendall(json.dumps(request).encode() + b"\n")
                answer = _answer(messages)
    return answer


def _answer(messages: Iterator[dict[str, Any]]) -> Any:
    """The value of the next answer; events before it are passed over.

    :raises QmpError: the command has failed
    """
    for message in messages:
        if "error" in message:
            raise from_answer(message["error"])
        if "return" in message:
            return message["return"]
    raise ConnectionResetError("the connection ended before the answer")


def _expect(member: str, messages: Iterator[dict[str, Any]]) -> None:
    if member not in next(messages, {}):
        raise ConnectionResetError("no QMP monitor answers there")
