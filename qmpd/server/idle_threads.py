"""Threads that stand for those of a guest: they do nothing, but the host's tools see them."""

from __future__ import annotations

import threading


class IdleThreads:
    """Threads by their names; each waits until the process ends."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def id_of(self, name: str) -> int:
        """The id that the host's kernel has given to a thread, which is started if need be.

        :param name: what it is for
        """
        known = self._ids.get(name)
        if known is None:
            thread = threading.Thread(target=threading.Event().wait, name=name, daemon=True)
            thread.start()
            assert thread.native_id is not None
            known = self._ids[name] = thread.native_id
        return known
