"""What clients see around a guest, besides devices: threads, trace events, dirty rates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor
    from qmpd.block.model.services import Services
    from qmpd.machine.devices.tree import DeviceTree
    from qmpd.machine.dirty_rate import DirtyRate
    from qmpd.machine.host import Host
    from qmpd.machine.trace_events import TraceEvents
    from qmpd.profile.recorded.store import Recorded


class GuestSide:
    """The surroundings of one machine's guest.

    :param services: its time
    :param host: the process that it lives in
    :param devices: its devices
    :param recorded: what the program that it passes for is like
    """

    def __init__(
        self, services: Services, host: Host, devices: DeviceTree, recorded: Recorded
    ) -> None:
        self._services = services
        self._host = host
        self._devices = devices
        self._recorded = recorded
        self._kept: list[Descriptor] = []
        self.hmp_cpu = 0
        """The number of the processor that the human monitor looks at while it runs a command."""

    @cached_property
    def trace_events(self) -> TraceEvents:
        """The trace events of the program."""
        from qmpd.machine.trace_events import TraceEvents

        return TraceEvents(self._recorded.trace_events)

    @cached_property
    def dirty_rate(self) -> DirtyRate:
        """How much the guest writes to its memory."""
        from qmpd.machine.dirty_rate import DirtyRate

        return DirtyRate(self._services.clocks, self._devices.board.memory)

    def cpu_threads(self) -> list[tuple[int, int]]:
        """The numbers of the processors, and of the threads that stand for them."""
        thread_of, own = self._host.thread_of, self._services.thread_id
        numbers = self._devices.processors.numbers.values()
        return [(number, thread_of(f"CPU {number}") or own) for number in numbers]

    def keep(self, descriptor: Descriptor) -> None:
        """Keep a descriptor open that nobody uses until the machine ends."""
        self._kept.append(descriptor)

    def close(self) -> None:
        """Close what was kept."""
        while self._kept:
            self._kept.pop().close()
