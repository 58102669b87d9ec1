"""Character devices, as the commands of a machine see them: they belong to its process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from qmpd.errors import GenericError, NotServed
from qmpd.profile.personality import Personality

if TYPE_CHECKING:
    from qmpd.base.descriptor import Descriptor
    from qmpd.profile import Profile

_BACKENDS: Final = MappingProxyType(
    {
        Personality.SYSTEM: (
            "stdio ringbuf mux pipe qemu-vdagent pty hub null msmouse socket vc parallel memory udp"
            " file wctablet serial testdev"
        ).split(),
        Personality.STORAGE_DAEMON: (
            "pty file udp memory stdio socket ringbuf null parallel pipe mux serial hub"
        ).split(),
    }
)
"""Names of the backends of the default version's programs, in the order of ``-chardev help``."""


def backend_names(profile: Profile, personality: Personality) -> list[str]:
    """Names of a program's backends, in the order of ``-chardev help``."""
    if not profile.trims_output:
        return _BACKENDS[personality]
    listed: str = profile.recorded(personality).helps["chardev"]
    return [line.strip() for line in listed.splitlines()[1:]]


TakeDescriptor = Callable[[str], "Descriptor"]
"""Takes a descriptor that a client has named; raises GenericError where there is none."""


class CharDevices(Protocol):
    """The character devices of a process."""

    @property
    def named(self) -> Collection[str]:
        """The ids that the command line has given, also those of devices that are gone."""

    def infos(self) -> list[dict[str, Any]]:
        """ChardevInfo of each (query-chardev)."""

    def sockets(self) -> list[str]:
        """Ids of those whose connection can be yanked, the oldest first."""

    def yank(self, label: str) -> None:
        """Cut the connection of one of `sockets`."""

    def make(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor
    ) -> dict[str, Any]:
        """Make one (``qmp_chardev_add``).

        :param kind: ChardevBackendKind
        :param data: the members of that kind's `data`, plain JSON values
        :returns: ChardevReturn
        :raises GenericError: QEMU's text
        """

    def make_by_options(
        self, label: str, kind: str, data: Mapping[str, Any], *, mux: bool, take: TakeDescriptor
    ) -> str:
        """Make one as the human monitor does; returns what is said on the terminal.

        :param mux: whether several frontends are to share it
        :raises GenericError: QEMU's text
        """

    def change(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor
    ) -> dict[str, Any]:
        """Put another one in its place (``qmp_chardev_change``).

        :raises GenericError: QEMU's text
        """

    def remove(self, label: str) -> None:
        """Close one.

        :raises GenericError: there is none, or something uses it
        """

    def add_client(self, label: str, descriptor: Descriptor) -> None:
        """Give a socket that has no peer one that has come some other way.

        :param descriptor: its connection, which is taken when all is well
        :raises GenericError: there is no such character device, or it takes nobody
        """

    def send_break(self, label: str) -> None:
        """Send a break to its frontend.

        :raises GenericError: there is none
        """

    def ringbuf_write(self, label: str, data: bytes) -> None:
        """Write to a ring buffer.

        :raises GenericError: there is none
        """

    def ringbuf_read(self, label: str, size: int) -> bytes:
        """Take up to `size` of the oldest bytes out of a ring buffer.

        :raises GenericError: there is none, or `size` is not positive
        """


class NoCharDevices:
    """Those of a machine that has no process of its own: there are none."""

    named: Collection[str] = ()

    def infos(self) -> list[dict[str, Any]]:
        """Return nothing."""
        return []

    def sockets(self) -> list[str]:
        """Return nothing."""
        return []

    def yank(self, label: str) -> None:
        """Do nothing: there is none."""

    def make(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor
    ) -> NoReturn:
        """Refuse to make one.

        :raises NotServed: always
        """
        raise NotServed("Character devices need a machine that has a process")

    def make_by_options(
        self, label: str, kind: str, data: Mapping[str, Any], *, mux: bool, take: TakeDescriptor
    ) -> NoReturn:
        """Refuse to make one.

        :raises NotServed: always
        """
        self.make(label, kind, data, take)

    def change(
        self, label: str, kind: str, data: Mapping[str, Any], take: TakeDescriptor
    ) -> NoReturn:
        """Find nothing.

        :raises GenericError: always
        """
        raise GenericError(f"Chardev '{label}' does not exist")

    def remove(self, label: str) -> None:
        """Find nothing.

        :raises GenericError: always
        """
        raise GenericError(f"Chardev '{label}' not found")

    def add_client(self, label: str, descriptor: Descriptor) -> None:
        """Find nothing.

        :raises GenericError: always
        """
        raise GenericError(f"protocol '{label}' is invalid")

    def send_break(self, label: str) -> None:
        """Find nothing.

        :raises GenericError: always
        """
        raise GenericError(f"Chardev '{label}' not found")

    def ringbuf_write(self, label: str, data: bytes) -> None:
        """Find nothing.

        :raises GenericError: always
        """
        raise GenericError(f"Device '{label}' not found")

    def ringbuf_read(self, label: str, size: int) -> NoReturn:
        """Find nothing.

        :raises GenericError: always
        """
        raise GenericError(f"Device '{label}' not found")
