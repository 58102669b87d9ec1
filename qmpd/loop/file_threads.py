"""Threads that make long requests to files, as QEMU's thread pool does (``util/thread-pool.c``).

The main loop goes on meanwhile.  Whoever asks hears of the end in the loop, by a callback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

THREADS: Final = 2
"""Requests made at a time; more of them get in each other's way in one process of Python."""


class FileThreads:
    """The threads of one machine; they are started by the first request.

    :param call_in_loop: runs a callback in the main loop; may be called from any thread
    """

    def __init__(self, call_in_loop: Callable[[Callable[[], None]], object]) -> None:
        self._call_in_loop = call_in_loop
        self._executor: ThreadPoolExecutor | None = None
        self._at_work: dict[Future[Any], object] = {}

    def run(
        self, file: object, work: Callable[[], Any], ended: Callable[[Future[Any]], None]
    ) -> None:
        """Have a thread call `work`, and then the loop call `ended`.

        :param file: what the request is made to, for `join`
        :param ended: gets what holds the result, or the error
        """
        if self._executor is None:
            # not imported before it is needed: a program starts sooner without
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(THREADS, "qmpd-file")

        def in_loop(future: Future[Any]) -> None:
            self._call_in_loop(lambda: self._ended(future, ended))

        future = self._executor.submit(work)
        self._at_work[future] = file
        future.add_done_callback(in_loop)

    def _ended(self, future: Future[Any], ended: Callable[[Future[Any]], None]) -> None:
        self._at_work.pop(future, None)
        ended(future)

    def join(self, file: object) -> None:
        """Wait until no thread has anything to do with `file`."""
        for future in [one for one, its_file in self._at_work.items() if its_file is file]:
            future.exception()

    def stop(self) -> None:
        """End all threads, and wait until what they do is done; nobody hears of it."""
        self._at_work.clear()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(cancel_futures=True)
