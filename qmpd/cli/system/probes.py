"""Probes: options such as ``-machine help``, which print something and end the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.cli.report import Probe, Program
from qmpd.cli.system import listings
from qmpd.errors import QmpError
from qmpd.machine.devices.help import models_help, properties_help

if TYPE_CHECKING:
    from qmpd.cli.system.config import Located, SystemConfig
    from qmpd.profile import Profile


def run_probes(program: Program, config: SystemConfig, profile: Profile) -> None:
    """Answer the first of the probes that had to wait until the whole command line was read.

    :raises Probe: the answer
    :raises CommandLineError: what is asked about does not exist
    """
    machine = config.machine
    if machine.wants_help and machine.type is None:
        raise Probe(listings.machines(profile))
    if machine.wants_help:
        machine.check(profile, program)
        raise Probe(listings.machine_properties(profile, machine.name))
    if machine.accel_help:
        raise Probe(listings.accelerators(profile))
    if machine.cpu in ("help", "?"):
        raise Probe(listings.cpus(profile))
    if config.hardware.get("vga", [])[-1:] == ["help"]:
        raise Probe(listings.vgas(profile, machine.name))
    for probe in config.probes:
        raise _answer(program, probe, profile)


def _answer(program: Program, probe: Located, profile: Profile) -> Probe:
    kind, driver = probe.what
    if kind == "help":
        return Probe(listings.recorded_help(profile, driver))
    if driver is None:
        return Probe(models_help(profile))
    try:
        return Probe(properties_help(profile, driver))
    except QmpError as error:
        # qdev_device_help: no help is an answer, too
        program.message(profile.rules.words(error.desc), probe.location)
        return Probe("")
