"""What the control monitor does with the process of ``qmpd-system`` and ``qmpd-storage-daemon``.

Their machine begins and ends with the process, as QEMU's does, so that it is the process that is
killed or begins anew.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from qmpd.errors import NotServed
from qmpd.server.lifecycle import ENDING_SIGNALS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from qmpd.server.server import Server


class OwnProcess:
    """This process; see `qmpd.sim.holder.Program`.

    :param loop: what the process runs
    :param server: of the one machine
    """

    def __init__(self, loop: AbstractEventLoop, server: Server) -> None:
        self._loop = loop
        self._server = server
        self._directory = os.getcwd()
        self._again = False

    def kill(self) -> None:
        """End the process as ``kill -9`` does, once the present answer is out."""
        # answers are written at the end of a round of the loop
        self._loop.call_soon(self._loop.call_soon, os.kill, os.getpid(), signal.SIGKILL)

    def run_again(self, *, keeps_images: bool) -> None:
        """End the machine as ``quit`` does, then begin anew from the same command line.

        :param keeps_images: whether images have to be as they are now
        :raises NotServed: images would be lost, or sockets that the process was given
        """
        if keeps_images and not self._server.machine.services.storage.changes_host:
            raise NotServed("Images in memory end with this process; those of 'qmpd serve' do not")
        if any(chardev.inherited for chardev in self._server.chardevs):
            raise NotServed("This process cannot begin anew: it was given a socket as a descriptor")
        self._again = True
        self._server.machine.request_shutdown("host-qmp-quit")

    def begin_if_wanted(self) -> None:
        """Begin anew if `run_again` was called; the machine has ended, all has been given back."""
        if not self._again:
            return
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        # to become a daemon is to leave the directory
        os.chdir(self._directory)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
