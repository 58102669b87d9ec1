"""Long work that touches nothing but what it is given, and where it is done.

To parse a message of 60 MiB takes seconds.  QEMU does that in a thread of its own
(``iothread`` of the monitors); where a process serves others meanwhile, a thread does it here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from qmpd.base.override import override
from qmpd.loop.file_threads import FileThreads, ThreadRequest, in_thread
from qmpd.loop.task import Waiter

T = TypeVar("T")

Ended = Callable[[ThreadRequest], None]
"""Takes what holds the result, or the error."""


def outcome(read: Callable[[], T]) -> Callable[[], T]:
    """What returns what `read` returns, or raises what it raises, when it is called."""
    try:
        value = read()
    except Exception as error:
        failure = error

        def fail() -> NoReturn:
            raise failure

        return fail
    return lambda: value


class Meanwhile(Waiter):
    """What a command waits for that has not begun its work: others may have their turn."""

    __slots__ = ()


class Midway(Waiter):
    """What a command waits for in the middle of its work, which takes its time.

    Those may have their turn that only look at what it does not change.
    """

    __slots__ = ()


CallInLoop = Callable[[Callable[[], None]], object]
"""What has an event loop call something, from any thread."""


class Apart:
    """Does long work at once: nobody else waits."""

    @property
    def threaded(self) -> bool:
        """Whether it is done by a thread."""
        return False

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, which is pure.

        :raises Exception: whatever it raises
        """
        return work()

    def start(self, work: Callable[[], Any], ended: Ended) -> None:
        """Begin `work`; `ended` is called from the loop (`threaded` only)."""
        raise NotImplementedError


class ApartInThread(Apart):
    """A thread does it, as long as there is an event loop that hears of the end.

    :param call_in_loop: runs a callback in the main loop; may be called from any thread.  Where it
        is absent there is no such loop until `attach`.
    """

    def __init__(self, call_in_loop: CallInLoop | None = None) -> None:
        self._threads: FileThreads | None = None
        self.files: FileThreads | None = None
        """Those that make requests to files: they do not wait for what is long to read."""
        if call_in_loop is not None:
            self.attach(call_in_loop)

    def attach(self, call_in_loop: CallInLoop) -> None:
        """An event loop runs the machine from now on."""
        self._threads = FileThreads(call_in_loop)
        self.files = FileThreads(call_in_loop)

    def detach(self) -> None:
        """No event loop runs it any longer: wait for what is under way."""
        threads, files = self._threads, self.files
        self._threads = self.files = None
        for one in (threads, files):
            if one is not None:
                one.finish()

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return any(one is not None and one.busy for one in (self._threads, self.files))

    @property
    @override
    def threaded(self) -> bool:
        return self._threads is not None

    @override
    async def do(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            return work()
        waiter = Meanwhile(direct=True)
        return await in_thread(self._threads, (self,), work, waiter, waiter.wake)

    @override
    def start(self, work: Callable[[], Any], ended: Ended) -> None:
        assert self._threads is not None
        self._threads.run((self,), work, ended)
