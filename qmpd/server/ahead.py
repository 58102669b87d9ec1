"""What the first commands would have to wait for, done ahead of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

from qmpd.block.model.driver_table import DRIVERS, find_driver
from qmpd.monitor.qmp.served import SERVED

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

JOBS: Final = ("qmpd.jobs.merge.commit", "qmpd.jobs.merge.stream", "qmpd.jobs.mirror.start")
"""Modules that commands import by themselves when they are first used."""


def load_ahead(machine: Machine) -> Iterator[None]:
    """Import handlers and block drivers, and make the models of arguments.

    Each step is one of them, and takes some milliseconds.
    """
    while SERVED.import_next():
        yield
    for name in DRIVERS:
        find_driver(name)
        yield
    for module in JOBS:
        import_module(module)
        yield
    commands = machine.profile.program(machine.personality).commands
    for name in SERVED:
        info = commands.get(name)
        if info is not None and info.gen and info.arguments is not None:
            machine.profile.reader.prepare(info.arguments)
            yield
