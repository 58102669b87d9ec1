"""``qmpd-storage-daemon``: the command line of QEMU's storage daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from qmpd.cli.chosen_version import chosen_profile
from qmpd.cli.report import Probe, Program, starting_program
from qmpd.errors import QmpError
from qmpd.options.command_line import Option
from qmpd.options.getopt_long import Getopt
from qmpd.profile.profile import Profile

OPTIONS: Final = {
    "blockdev": True,
    "chardev": True,
    "daemonize": False,
    "export": True,
    "help": False,
    "monitor": True,
    "nbd-server": True,
    "object": True,
    "pidfile": True,
    "trace": True,
    "version": False,
}
"""Long options; True: takes an argument."""

SHORT: Final = {"h": "help", "T": "trace", "V": "version"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its status."""
    with starting_program():
        return _main(sys.argv if argv is None else argv)


def _main(words: Sequence[str]) -> int:
    program = Program(words[0])
    options: list[Option] = []
    try:
        profile = chosen_profile(program.name)
        program.words = profile.rules.words
        program.names_options = not profile.rules.holds("storage-daemon-names-no-options")
        known = dict(OPTIONS)
        if profile.rules.holds("storage-daemon-without-pid-file"):
            del known["pidfile"]
        for option in Getopt(known, SHORT).parse(words[1:]):
            _answer_probe(program, option)
            options.append(option)
    except Probe as probe:
        return program.answer(probe)
    except QmpError as error:
        program.complain(error)
        return 1
    from qmpd.cli.process import run_program

    return run_program(program, lambda _: _run(program, profile, options))


def _answer_probe(program: Program, option: Option) -> None:
    """Answer ``--help`` and ``--version``, which do not wait for the options behind them.

    :raises Probe: the answer
    """
    if option.name == "help":
        from qmpd.cli.storage_daemon.help import storage_daemon_help

        raise Probe(storage_daemon_help(program.name))
    if option.name == "version":
        from qmpd.cli.help_text import version

        raise Probe(version("qemu-storage-daemon", chosen_profile(program.name)))


def _run(program: Program, profile: Profile, options: list[Option]) -> int:
    from qmpd.cli.process import (
        JOURNAL_VARIABLE,
        Process,
        ProcessOptions,
        access_of_environment,
    )
    from qmpd.cli.storage_daemon.options import StorageDaemonOptions
    from qmpd.machine.config import MachineConfig
    from qmpd.profile.personality import Personality

    pid_file = next((o.argument for o in reversed(options) if o.name == "pidfile"), None)
    process = Process(
        program,
        ProcessOptions(
            pid_file=pid_file,
            pid_file_last=True,
            daemonize=any(o.name == "daemonize" for o in options),
        ),
    )
    process.begin()
    process.build(
        access_of_environment(),
        MachineConfig(profile=profile, personality=Personality.STORAGE_DAEMON),
        os.environ.get(JOURNAL_VARIABLE),
    )
    setup = StorageDaemonOptions(process)
    try:
        process.add_control_of_environment()
        for option in options:
            setup.apply(option)
        return process.serve()
    except QmpError:
        process.abandon()
        raise


if __name__ == "__main__":
    from qmpd.cli.process import finish

    finish(main())
