"""Surroundings for the graphs and machines that tests make by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from qmpd.block.images import MemoryStorage, Storage, Storages
from qmpd.block.model.services import Say, Services
from qmpd.loop.clock import Clock, VirtualClock
from qmpd.loop.clocks import Clocks
from qmpd.loop.events import Emit
from qmpd.machine.machine import Machine
from qmpd.wire.json_stream import parse_json


def ignore_event(name: str, data: Mapping[str, object] | None = None) -> None:
    """Nobody takes events."""


def _ignore(text: str) -> None:
    """Nobody listens."""


def services(clock: Clock, storage: Storage | None = None, emit: Emit = ignore_event) -> Services:
    """Services on `clock`, with a fixed seed; images are in memory if `storage` is absent."""
    return Services(
        loop=clock,
        clocks=Clocks.of(clock),
        emit=emit,
        storage=Storages(MemoryStorage() if storage is None else storage),
        random=Random(0),
        say=Say(_ignore, _ignore, _ignore, _ignore),
        parse_json=parse_json,
        thread_id=1,
    )


def bare_machine(clock: Clock, *, harness: VirtualClock | None = None, **options: Any) -> Machine:
    """A machine on `clock`, with a fixed seed and its images in memory.

    :param options: further arguments of `Machine`
    """
    clocks = Clocks.of(clock, harness=harness)
    return Machine(clocks, MemoryStorage(), random=Random(0), thread_id=1, **options)
