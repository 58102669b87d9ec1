"""A machine, as its migrations see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.base.run_state import RunState
    from qmpd.block.model.graph import Graph
    from qmpd.block.model.services import Services
    from qmpd.machine.host import Host


class Guest(Protocol):
    """The machine: what runs in it, and its disks."""

    run_state: RunState
    autostart: bool
    """Whether it runs as soon as it is there."""

    @property
    def services(self) -> Services:
        """Its clocks, and where its events and complaints go."""

    @property
    def host(self) -> Host:
        """The process that it lives in."""

    @property
    def graph(self) -> Graph:
        """Its nodes."""

    @property
    def machine_type(self) -> str:
        """The name of its machine type, which must be the same on both sides."""

    def unmigratable(self) -> list[str]:
        """The devices whose state cannot be saved."""

    def start(self) -> None:
        """Let it run (``vm_start``)."""

    async def force_stop(self, state: RunState) -> None:
        """Be in `state`, running no more, with all data written (``vm_stop_force_state``).

        :raises BlockIOError: a disk's data cannot be written
        """

    async def set_disks_active(self, active: bool) -> None:
        """Take all images back, or give all up.

        :raises QmpError: that cannot be done with one of them
        """
