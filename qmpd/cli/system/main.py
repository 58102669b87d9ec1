"""``qmpd-system``: the command line of QEMU's system emulator."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from qmpd.cli.chosen_version import chosen_profile
from qmpd.cli.report import Probe, Program, starting_program
from qmpd.cli.system.qemu_options import USUAL, KnownOptions, split_options
from qmpd.errors import QmpError
from qmpd.options.command_line import Option

if TYPE_CHECKING:
    from qmpd.cli.system.config import SystemConfig
    from qmpd.machine.answers import WatchdogAction
    from qmpd.machine.machine import Machine
    from qmpd.profile import Profile


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its status."""
    words = sys.argv if argv is None else argv
    program = Program(words[0])
    with starting_program():
        try:
            return _main(program, words[1:])
        except QmpError as error:
            program.complain(error)
            return 1
        except Probe as probe:
            return program.answer(probe)


def _main(program: Program, words: Sequence[str]) -> int:
    profile = chosen_profile(program.name)
    options = split_options(words, _known_options(profile))
    program.words = profile.rules.words
    for option in options:
        if option.name == "version":
            from qmpd.cli.help_text import version

            raise Probe(version("QEMU emulator", profile))
        if option.name in ("h", "help"):
            from qmpd.cli.system.help import system_help

            raise Probe(system_help(program.name, profile))
    from qmpd.cli.system.config_reader import ConfigReader
    from qmpd.cli.system.probes import run_probes

    reader = ConfigReader(program, profile)
    for option in options:
        reader.read(option)
    if "d" in reader.config.hardware or "D" in reader.config.hardware:
        from qmpd.cli.system.log_options import check_log

        check_log(program, reader.config, profile)
    run_probes(program, reader.config, profile)
    reader.config.check(profile, program)
    from qmpd.cli.process import run_program

    return run_program(program, lambda _: _run(program, profile, reader.config, reader.options))


def _known_options(profile: Profile) -> KnownOptions:
    if not profile.trims_output:
        return USUAL
    from qmpd.cli.system.other_options import options_of

    return options_of(profile)


def _run(program: Program, profile: Profile, config: SystemConfig, options: list[Option]) -> int:
    from qmpd.cli.process import (
        JOURNAL_VARIABLE,
        Process,
        ProcessOptions,
        access_of_environment,
    )
    from qmpd.cli.system.board_options import board_of
    from qmpd.cli.system.setup import SystemSetup
    from qmpd.machine.config import MachineConfig
    from qmpd.profile.personality import Personality
    from qmpd.qapi.runtime.policy import CompatPolicy

    process = Process(
        program,
        ProcessOptions(pid_file=config.pid_file, daemonize=config.daemonize, announce_signals=True),
    )
    process.begin()
    harness = None
    if config.machine.qtest:
        from qmpd.loop.clock import VirtualClock

        harness = VirtualClock()
    process.build(
        access_of_environment(),
        MachineConfig(
            profile=profile,
            personality=Personality.SYSTEM,
            name=config.name,
            uuid=config.uuid,
            compat=CompatPolicy.of_options(config.compat),
            paused=config.paused,
            incoming=config.incoming is not None,
            only_migratable=config.only_migratable,
            preconfig=config.preconfig,
            cpus=config.machine.cpus,
            board=board_of(config),
        ),
        os.environ.get(JOURNAL_VARIABLE),
        harness=harness,
    )
    _set_actions(process.server.machine, options)
    try:
        process.add_control_of_environment()
        setup = SystemSetup(process, config)
        setup.run()
    except QmpError:
        process.abandon()
        raise
    if config.loadvm is not None:
        setup.load_snapshot(config.loadvm)
    if config.incoming_channel is not None:
        setup.await_guest()
    return process.serve()


def _set_actions(machine: Machine, options: list[Option]) -> None:
    """What ``-no-reboot``, ``-no-shutdown``, ``-action`` and ``-trace`` say, which is checked."""
    for option in options:
        if option.name == "no-reboot":
            machine.actions.reboot = "shutdown"
        elif option.name == "no-shutdown":
            machine.actions.shutdown = "pause"
        elif option.name == "action":
            for part in (option.argument or "").split(","):
                name, _, value = part.partition("=")
                if name in ("reboot", "shutdown", "panic", "watchdog"):
                    setattr(machine.actions, name, value)
        elif option.name == "trace":
            _trace(machine, option.argument or "")
        elif option.name == "watchdog-action":
            machine.actions.watchdog = cast("WatchdogAction", option.value)


def _trace(machine: Machine, text: str) -> None:
    from qmpd.cli.options.trace import switch
    from qmpd.options import groups
    from qmpd.options.qemu_opts import parse_opts, silent

    enable = parse_opts(groups.TRACE, text, silent).get("enable")
    if enable is not None:
        switch(machine.guest_side.trace_events, enable, lambda _: None)


if __name__ == "__main__":
    from qmpd.cli.process import finish

    finish(main())
