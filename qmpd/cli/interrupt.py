"""Work that waits for others, and can be interrupted by Ctrl-C at every moment."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def interruptible(work: Callable[[], T]) -> T:
    """Do `work` in a thread of its own; returns what it returns, and raises what it raises.

    A signal that comes just before a system call does not end the call, and Python looks at it
    only afterwards, which may be never. So the main thread waits for a byte that the signal's
    arrival leaves behind. It has to be the main thread that calls this.

    :raises KeyboardInterrupt: SIGINT has come; the work goes on, until the program ends
    """
    future: Future[T] = Future()
    heard, said = socket.socketpair()
    said.setblocking(False)

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        with contextlib.suppress(OSError):
            said.send(b"\0")

    before = signal.set_wakeup_fd(said.fileno(), warn_on_full_buffer=False)
    try:
        threading.Thread(target=run, daemon=True).start()
        while not future.done():
            heard.recv(64)
        return future.result()
    finally:
        signal.set_wakeup_fd(before)
        heard.close()
