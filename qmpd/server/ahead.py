"""What the first commands would have to wait for, done ahead of them."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final

from qmpd.base.memory import there_is
from qmpd.block.model.driver_table import DRIVERS, JOB_FILTERS, find_driver, find_job_filter
from qmpd.monitor.qmp.served import SERVED

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.machine.machine import Machine
    from qmpd.monitor.dispatcher import Dispatcher

LOG = logging.getLogger("qmpd.server")

LATER: Final = (
    "qmpd.jobs.merge.commit",
    "qmpd.jobs.merge.stream",
    "qmpd.jobs.mirror.start",
    "qmpd.monitor.hmp",
    "qmpd.export.nbd.create",
    "qmpd.export.nbd.server",
    "qmpd.server.listener",
    # in pieces, for all of it at once would be a long step
    "pydantic_core",
    "pydantic.errors",
    "pydantic.fields",
    "pydantic.main",
)
"""Modules that commands import by themselves when they are first used."""


LOAD_AFTER: Final = 0.1
"""Seconds until the first step of `load_ahead`."""
LOAD_EVERY: Final = 0.001
"""Seconds from one step to the next."""
NEEDED: Final = 32 << 20
"""Bytes of memory without which nothing is loaded: more than any step takes."""
QUIET: Final = 0.5
"""Seconds without a command before a step: who asks one thing after the other would wait for it.

libvirt does other things for up to a tenth of a second between two commands of a backup.
"""


class LoadingAhead:
    """Does that while nobody waits for an answer, and no job is at work."""

    def __init__(self, loop: AbstractEventLoop, machine: Machine, dispatcher: Dispatcher) -> None:
        self._loop = loop
        self._machine = machine
        self._dispatcher = dispatcher
        self._begun = dispatcher.begun
        self._steps = load_ahead(machine)
        self._ended = False

    def start(self) -> None:
        """Begin soon."""
        self._loop.call_later(LOAD_AFTER, self._step)

    def end(self) -> None:
        """Go no further."""
        self._ended = True

    def _step(self) -> None:
        dispatcher = self._dispatcher
        quiet = dispatcher.idle and dispatcher.begun == self._begun
        quiet = quiet and not self._machine.jobs_at_work and there_is(NEEDED)
        self._begun = dispatcher.begun
        try:
            done = quiet and next(self._steps, self) is self
        except (OSError, ImportError, MemoryError) as error:
            # no descriptors, or no memory: what is missing is loaded when somebody asks for it
            LOG.warning("modules cannot be loaded: %s", error)
            return
        if done:
            # All of that stays: to look through it for garbage would only take time.
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif not self._ended:
            self._loop.call_later(LOAD_EVERY if quiet else QUIET, self._step)


def load_ahead(machine: Machine) -> Iterator[None]:
    """Import handlers and block drivers, and make the models of arguments.

    Each step is one of them, and takes some milliseconds.
    """
    while SERVED.import_next():
        yield
    for name in DRIVERS:
        find_driver(name)
        yield
    for name in JOB_FILTERS:
        find_job_filter(name)
        yield
    # it has been imported by a handler
    from qmpd.transaction import ACTIONS, find_action

    for kind in ACTIONS:
        find_action(kind)
        yield
    for module in LATER:
        import_module(module)
        yield
    commands = machine.profile.program(machine.personality).commands
    for name in SERVED:
        info = commands.get(name)
        if info is not None and info.gen and info.arguments is not None:
            machine.profile.reader.prepare(info.arguments)
            yield
