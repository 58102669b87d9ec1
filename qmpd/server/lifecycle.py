"""A process among processes: signals, pid files, daemonizing, telling a service manager."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from qmpd.errors import GenericError

ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)

IGNORED_SIGNALS: Final = (signal.SIGUSR1, signal.SIGALRM, signal.SIGIO)
"""What QEMU has for itself, and takes from others without a word (``qemu_init_main_loop``)."""

PATIENCE: Final = 30.0
"""Seconds until a signal has to be heard: longer than anything that is done at a stretch."""

PATIENCE_WITH_READERS: Final = 1.0
"""Seconds until nothing is waited for any more that is printed; how often that is looked after."""


def ignore_signals() -> None:
    """Ignore the signals that QEMU ignores; they still interrupt what waits in the main thread."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, lambda *_: None)


def watch_signals(
    post: Callable[[Callable[[], None]], object],
    told: Callable[[int, int], None],
    patience: float = PATIENCE,
) -> None:
    """Have `told` called with number and sender's pid of each ending signal.

    A thread that waits is the one way in Python to learn who sent a signal,
    which QEMU says when it ends.  Where nobody hears of it, because a call of the system does not
    return, the signal ends the process as if it were not waited for; a call that only waits for
    somebody to read what is printed is made to fail before, from then until the end.

    :param post: has a function called by who ends the process, such as `call_soon_threadsafe`
    :param patience: seconds to wait for that
    """
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:  # as nohup has it, which QEMU does not heed
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)

    def wait() -> None:
        info: signal.struct_siginfo | None = signal.sigwaitinfo(ENDING_SIGNALS)
        last = signal.SIGTERM if info is None else info.si_signo
        while True:
            heard = threading.Event()
            with contextlib.suppress(RuntimeError):
                post(heard.set)
                if info is not None:
                    last = info.si_signo
                    post(partial(told, info.si_signo, info.si_pid))
            if not heard.wait(min(patience, PATIENCE_WITH_READERS)):
                _stop_waiting_for_readers()
                if not heard.wait(patience):
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
                    signal.raise_signal(last)
            info = signal.sigtimedwait(ENDING_SIGNALS, PATIENCE_WITH_READERS)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def _stop_waiting_for_readers() -> None:
    """Have a write to standard output or error fail that waits for a reader."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.set_blocking(number, False)
    main = threading.main_thread().ident
    if main is not None and callable(signal.getsignal(signal.SIGUSR1)):
        signal.pthread_kill(main, signal.SIGUSR1)


def raise_limits() -> None:
    """Allow as many open files as the process may have (``os_setup_limits``)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def process_name(pid: int) -> str | None:
    """How a process was called (its first argument), if it still exists."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read().split(b"\0")[0]) or None
    except OSError:
        return None


class PidFile:
    """A file with the process's id, locked while it lives.

    :raises GenericError: it cannot be made, or belongs to a living process
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._fd = -1
        try:
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise GenericError(
                f"cannot create PID file: Could not create '{path}': {error.strerror}"
            ) from None
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise GenericError(
                f"cannot create PID file: Cannot lock pid file: {error.strerror}"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, b"%d\n" % os.getpid())
        self._fd = fd

    def remove(self) -> None:
        """Take the file away, unless another one has taken its place."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.lstat(self._path), os.fstat(self._fd)):
                os.unlink(self._path)
        os.close(self._fd)


class Daemon:
    """A process that has left its terminal while its parent waits for the outcome.

    After `fork` the parent returns only by exiting: with status 0 once the
    child called `ready`, with 1 when the child ended before.
    """

    def __init__(self) -> None:
        self._outcome = -1

    def fork(self) -> None:
        """Become a session leader's child; the original process waits and exits."""
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            while True:
                with contextlib.suppress(InterruptedError):
                    ready = os.read(reader, 1)
                    os._exit(0 if ready == b"\0" else 1)
        os.close(reader)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.umask(0o027)
        for number in (signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN):
            signal.signal(number, signal.SIG_IGN)
        self._outcome = writer

    def ready(self) -> None:
        """Let go of the terminal and release the parent."""
        os.chdir("/")
        null = os.open("/dev/null", os.O_RDWR)
        sys.stdout.flush()
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        os.write(self._outcome, b"\0")
        os.close(self._outcome)


def notify(state: str) -> None:
    """Tell the service manager (sd_notify), if there is one.

    :param state: ``READY=1``, ``STOPPING=1``, ...
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    if path[0] == "@":
        path = "\0" + path[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(path)
        sock.sendall(state.encode())


def write_ready(fd: int) -> None:
    """Write a line to descriptor `fd` and close it: whoever waits for it may go on."""
    with contextlib.suppress(OSError):
        os.write(fd, b"ready\n")
        os.close(fd)
