#!/usr/bin/env python3
"""Three mistakes of qemu.qmp 0.0.6, shown at any machine with a human monitor and a drive `disk0`.

    qemu_qmp.py SOCKET

The last one has the machine quit.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import NoReturn

from qemu.qmp import QMPClient
from qemu.qmp.legacy import QEMUMonitorProtocol

SLEEP = {"command-line": 'qemu-io disk0 "sleep 800"'}


def late_answer(path: str) -> str:
    """A command's time is up, and the next command gets its answer."""
    with QEMUMonitorProtocol(path) as qmp:
        qmp.connect()
        qmp.settimeout(0.2)
        try:
            qmp.cmd_obj({"execute": "human-monitor-command", "arguments": SLEEP})
        except TimeoutError:
            qmp.settimeout(None)
            return f"query-status gets {qmp.cmd_obj({'execute': 'query-status'})}"
    return "it was in time"


def whole_seconds(path: str) -> str:
    """Waiting for an event ends after 0.2 seconds, and never after 1."""

    def alarm(number: int, frame: object) -> NoReturn:
        raise RuntimeError("still waiting after 3 s")

    signal.signal(signal.SIGALRM, alarm)
    said = []
    with QEMUMonitorProtocol(path) as qmp:
        qmp.connect()
        for wait in (0.2, 1):
            signal.alarm(3)
            try:
                qmp.pull_event(wait=wait)
            except (TimeoutError, RuntimeError) as error:
                said.append(f"wait={wait}: {str(error) or 'time is up'}")
            signal.alarm(0)
    return ", ".join(said)


async def lost_connection(path: str) -> str:
    """Who waits for an event is not told that the connection has ended."""
    qmp = QMPClient("found")
    await qmp.connect(path)
    with qmp.listener("BLOCK_JOB_COMPLETED") as completed:
        await qmp.execute("quit")
        await qmp.runstate_changed()
        try:
            await asyncio.wait_for(completed.get(), 2)
        except TimeoutError:
            return f"still waiting 2 s later; the connection is {qmp.runstate.name}"
        finally:
            await asyncio.gather(qmp.disconnect(), return_exceptions=True)
    return "it was told"


def main(path: str) -> None:
    """Show each."""
    print("late answer:", late_answer(path), flush=True)
    print("whole seconds:", whole_seconds(path), flush=True)
    print("lost connection:", asyncio.run(lost_connection(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
