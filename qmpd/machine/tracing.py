"""Trace events of a machine, switched for all of its processors or for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Collection

    from qmpd.machine.machine import Machine


def set_trace_events(
    machine: Machine, name: str, vcpu: int | None, *, enable: bool, ignore_unavailable: bool
) -> None:
    """Switch events on or off.

    :param name: of one event, or a pattern
    :param vcpu: the number of the processor that is meant, None for all
    :raises GenericError: there is no such processor or event, or the event cannot be switched so
    """
    events = machine.guest_side.trace_events
    processor, present = chosen_processor(machine, vcpu)
    if processor is None:
        events.set(name, enable=enable, ignore_unavailable=ignore_unavailable)
    else:
        events.set_of(
            processor, name, present, enable=enable, ignore_unavailable=ignore_unavailable
        )


def chosen_processor(machine: Machine, vcpu: int | None) -> tuple[int | None, Collection[int]]:
    """The processor that is meant, None for all (as always since 9.1), and all that there are.

    :raises GenericError: there is none with that number
    """
    if vcpu is None:
        return None, ()
    number = vcpu % (1 << 32)
    present = machine.devices.processors.numbers.values()
    if number not in present:
        raise GenericError(f"invalid vCPU index {number}")
    return number, present
