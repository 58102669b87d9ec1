"""Long work that touches nothing but what it is given, and where it is done.

To parse a message of 60 MiB takes seconds.  QEMU does that in a thread of its own
(``iothread`` of the monitors); where a process serves others meanwhile, a thread does it here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from qmpd.base.override import override
from qmpd.loop.file_threads import FileThreads, ThreadRequest
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


class Apart:
    """Does long work at once: nobody else waits."""

    threaded = False
    """Whether it is done by a thread."""

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, which is pure.

        :raises Exception: whatever it raises
        """
        return work()

    def start(self, work: Callable[[], Any], ended: Ended) -> None:
        """Begin `work`; `ended` is called from the loop (`threaded` only)."""
        raise NotImplementedError


class ApartInThread(Apart):
    """A thread does it.

    :param call_in_loop: runs a callback in the main loop; may be called from any thread
    """

    threaded = True

    def __init__(self, call_in_loop: Callable[[Callable[[], None]], object]) -> None:
        self._threads = FileThreads(call_in_loop)

    @override
    async def do(self, work: Callable[[], T]) -> T:
        waiter = Meanwhile(direct=True)
        ended: list[ThreadRequest] = []

        def end(request: ThreadRequest) -> None:
            ended.append(request)
            waiter.wake()

        self.start(work, end)
        await waiter
        result: T = ended.pop().result()
        return result

    @override
    def start(self, work: Callable[[], Any], ended: Ended) -> None:
        self._threads.run((self,), work, ended)
