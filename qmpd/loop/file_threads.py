"""Threads that make long requests to files, as QEMU's thread pool does (``util/thread-pool.c``).

The main loop goes on meanwhile.  Whoever asks hears of the end in the loop, by a callback.  What
ends while the loop is busy is told of together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from queue import SimpleQueue
    from threading import Event, Thread

    from qmpd.loop.task import Waiter

T = TypeVar("T")

THREADS: Final = 2
"""Requests made at a time; more of them get in each other's way in one process of Python."""


class ThreadRequest:
    """A request to files that a thread makes.

    :param files: what it is made to
    :param work: makes it
    :param ended: called in the loop once it has been made
    """

    __slots__ = ("_result", "_work", "awaited", "done", "ended", "error", "files")

    def __init__(
        self,
        files: tuple[object, ...],
        work: Callable[[], Any],
        ended: Callable[[ThreadRequest], None],
    ) -> None:
        self.files = files
        self.ended = ended
        self.done = False
        self.awaited: Event | None = None
        """What a thread that waits for the request waits for."""
        self.error: BaseException | None = None
        self._work = work
        self._result: Any = None

    def make(self) -> None:
        """Make it, in a thread."""
        try:
            self._result = self._work()
        except BaseException as error:
            self.error = error
        self.done = True
        if self.awaited is not None:
            self.awaited.set()

    def result(self) -> Any:
        """What `work` has returned.

        :raises BaseException: what it has raised
        """
        if self.error is not None:
            raise self.error
        return self._result


class FileThreads:
    """The threads of one machine; they are started by the first request.

    :param call_in_loop: runs a callback in the main loop; may be called from any thread
    """

    def __init__(self, call_in_loop: Callable[[Callable[[], None]], object]) -> None:
        self._call_in_loop = call_in_loop
        self._queue: SimpleQueue[ThreadRequest | None] | None = None
        self._threads: list[Thread] = []
        self._at_work: dict[ThreadRequest, None] = {}
        self._made: deque[ThreadRequest] = deque()
        self._told = False

    def run(
        self,
        files: tuple[object, ...],
        work: Callable[[], Any],
        ended: Callable[[ThreadRequest], None],
    ) -> None:
        """Have a thread call `work`, and then the loop call `ended`.

        :param files: what the request is made to, for `join`
        :param ended: gets what holds the result, or the error
        """
        if self._queue is None:
            self._queue = self._start()
        request = ThreadRequest(files, work, ended)
        self._at_work[request] = None
        self._queue.put(request)

    def _start(self) -> SimpleQueue[ThreadRequest | None]:
        # not imported before they are needed: a program starts sooner without
        from queue import SimpleQueue
        from threading import Thread

        queue: SimpleQueue[ThreadRequest | None] = SimpleQueue()
        for number in range(THREADS):
            name = f"qmpd-file_{number}"
            self._threads.append(Thread(target=self._serve, args=(queue,), name=name, daemon=True))
            self._threads[-1].start()
        return queue

    def _serve(self, queue: SimpleQueue[ThreadRequest | None]) -> None:
        """What each thread does."""
        while (request := queue.get()) is not None:
            request.make()
            self._made.append(request)
            if not self._told:
                self._told = True
                self._call_in_loop(self._tell)
            # while it waits for the next, it keeps nothing of this one
            del request

    def _tell(self) -> None:
        """Tell of what has been made, in the loop."""
        self._told = False
        while self._made:
            request = self._made.popleft()
            if request in self._at_work:
                del self._at_work[request]
                request.ended(request)

    def join(self, file: object) -> None:
        """Wait until no thread has anything to do with `file`."""
        for request in [one for one in self._at_work if file in one.files]:
            from threading import Event

            request.awaited = Event()
            if not request.done:
                request.awaited.wait()

    @property
    def busy(self) -> bool:
        """Whether anybody has yet to hear of a request."""
        return bool(self._at_work)

    def finish(self) -> None:
        """Wait for all that is under way, tell of it, and end all threads."""
        while self._at_work:
            for file in {one for request in self._at_work for one in request.files}:
                self.join(file)
            # a request is done a moment before its thread says so
            self._made.clear()
            self._made += self._at_work
            self._tell()
        self.stop()

    def stop(self) -> None:
        """End all threads, and wait until what they do is done; nobody hears of it."""
        self._at_work.clear()
        queue, self._queue = self._queue, None
        if queue is None:
            return
        while not queue.empty():
            queue.get_nowait()
        for _ in self._threads:
            queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._made.clear()


async def in_thread(
    threads: FileThreads,
    files: tuple[object, ...],
    work: Callable[[], T],
    waiter: Waiter,
    made: Callable[[], None],
) -> T:
    """Have a thread make a request.

    :param waiter: what is waited for
    :param made: called when the request has been made; sees to it that `waiter` is woken
    :raises Exception: whatever `work` raises
    """
    ended: list[ThreadRequest] = []

    def report(request: ThreadRequest) -> None:
        ended.append(request)
        made()

    threads.run(files, work, report)
    await waiter
    result: T = ended.pop().result()
    return result
