"""Descriptors that clients of one monitor hand over (``getfd``), under names."""

from __future__ import annotations

from collections.abc import Callable

from qmpd.base.descriptor import Descriptor
from qmpd.errors import GenericError


def nothing_handed_over() -> None:
    """Stands for a transport by which nothing is handed over."""


class Descriptors:
    """What the clients of a monitor have named; it stays when they leave, as in QEMU.

    :param take: takes the descriptor that came with the last bytes of a client; None: none did
    """

    def __init__(self, take: Callable[[], Descriptor | None] = nothing_handed_over) -> None:
        self._take = take
        self._named: dict[str, Descriptor] = {}

    def received(self) -> Descriptor:
        """Take the descriptor that came with the request (``qemu_chr_fe_get_msgfd``).

        :raises GenericError: none did
        """
        descriptor = self._take()
        if descriptor is None:
            raise GenericError("No file descriptor supplied via SCM_RIGHTS")
        return descriptor

    def add(self, name: str, descriptor: Descriptor) -> None:
        """Keep a descriptor in the place of another one of the same name (``monitor_add_fd``).

        :raises GenericError: the name begins with a digit; the descriptor is closed
        """
        if name[:1] in tuple("0123456789"):
            descriptor.close()
            raise GenericError("Parameter 'fdname' expects a name not starting with a digit")
        old = self._named.get(name)
        self._named[name] = descriptor
        if old is not None:
            old.close()

    def close(self, name: str) -> None:
        """Close a descriptor (``qmp_closefd``).

        :raises GenericError: there is none of that name
        """
        if name not in self._named:
            raise GenericError(f"File descriptor named '{name}' not found")
        self._named.pop(name).close()

    def take(self, name: str) -> Descriptor:
        """Take a descriptor away, to use it (``monitor_get_fd``).

        :raises GenericError: there is none of that name
        """
        if name not in self._named:
            raise GenericError(f"File descriptor named '{name}' has not been found")
        return self._named.pop(name)

    def close_all(self) -> None:
        """Close everything: the monitor ends."""
        while self._named:
            self._named.popitem()[1].close()
