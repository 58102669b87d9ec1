"""What both sides of a migration are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.base.run_state import RunState
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Task
    from qmpd.machine.migration.capabilities import Capabilities
    from qmpd.machine.migration.guest import Guest
    from qmpd.machine.migration.parameters import Parameters


class MigrationSide(ABC):
    """The source or the target of one migration.

    :param guest: what is there of the guest, or will be
    :param capabilities: of this side, as they were set
    :param parameters: likewise
    :param tell: told of each new state
    :param complain: takes what goes to standard error
    """

    def __init__(
        self,
        guest: Guest,
        capabilities: Capabilities,
        parameters: Parameters,
        tell: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self._guest = guest
        self._clock: Clock = guest.services.clocks.realtime
        self._capabilities = capabilities
        self._parameters = parameters
        self._tell = tell
        self._complain = complain
        self._task: Task | None = None
        self._before: RunState | None = None
        """The run state of the guest at the source, before it was stopped there."""
        self._over: list[Waiter] = []
        self.state = "none"
        self.error: str | None = None

    @property
    @abstractmethod
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""

    async def over(self) -> None:
        """Wait until nothing more happens by itself."""
        while not self.settled:
            waiter = Waiter()
            self._over.append(waiter)
            await waiter

    def _wake_over(self) -> None:
        if self.settled:
            waiting, self._over = self._over, []
            for waiter in waiting:
                waiter.wake()
