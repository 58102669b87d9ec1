"""What a program asks of its machine: commands, by a monitor of its own, and their answers."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from qmpd.api.waits import Waits
from qmpd.base.descriptor import Descriptor
from qmpd.errors import MachineClosed, from_answer
from qmpd.loop.task import Waiter
from qmpd.monitor.transport import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.monitor.qmp_monitor import QmpMonitor

Answer = dict[str, Any]
"""An answer as it comes over QMP: ``{"return": ...}`` or ``{"error": {"class", "desc"}}``."""


class _Asked:
    """A request that has been sent, and its answer once it is there."""

    def __init__(self) -> None:
        self.waiter = Waiter(direct=True)
        self.answer: Answer | None = None


class Asks(Waits):
    """The requests of a program, as coroutines."""

    _monitor: QmpMonitor

    def __init__(self) -> None:
        super().__init__()
        self._asked: deque[_Asked] = deque()
        """Those that wait for an answer, in the order in which answers come."""
        self._unanswered: list[_Asked] = []
        """Those that wait for the end of the machine."""

    async def qmp(self, command: str, arguments: Mapping[str, Any] | None) -> Answer:
        """Send a command and return its answer.

        :raises MachineClosed: there is no machine, or it ends before it answers
        """
        self.require_open()
        rest = f', "arguments": {json.dumps(arguments)}' if arguments else ""
        data = f'{{"execute": {json.dumps(command)}{rest}}}'.encode()
        asked = _Asked()
        self._asked.append(asked)
        self._monitor.feed(data)
        if asked.answer is None:
            await asked.waiter
        if asked.answer is None:
            raise MachineClosed(f"the machine ended before it answered {command}")
        return asked.answer

    def send_fd_scm(self, fd: int) -> None:
        """Hand over a descriptor, for the next command that takes one.

        :raises MachineClosed: there is no machine
        :raises OSError: it is not open
        """
        self.require_open()
        output = self._monitor.transport
        assert isinstance(output, Output)
        output.descriptor = Descriptor(os.dup(fd))

    async def cmd(self, command: str, arguments: Mapping[str, Any] | None) -> Any:
        """Send a command and return its value.

        :raises QmpError: it fails
        """
        answer = await self.qmp(command, arguments)
        if "error" in answer:
            raise from_answer(answer["error"])
        return answer["return"]

    def _received(self, data: bytes) -> None:
        # as text: json looks at bytes for their encoding first
        for line in data.decode().splitlines():
            message = json.loads(line)
            if "event" in message:
                self.jobs.see(message)
                self.events.put(message)
            elif "QMP" not in message:
                asked = self._asked.popleft()
                asked.answer = message
                asked.waiter.wake()

    def _lost(self) -> None:
        """An answer will not come; whoever waits for it waits until the machine ends."""
        self._unanswered.append(self._asked.popleft())

    def _wake_asking(self) -> None:
        """Let those go on who wait for an answer that will not come."""
        while self._asked:
            self._asked.popleft().waiter.wake()
        while self._unanswered:
            self._unanswered.pop().waiter.wake()
