"""What a block backend knows of its user, a device or an export, and of the drive it belongs to."""

from __future__ import annotations

from typing import NamedTuple


class BlockDevOps:
    """What the user of a backend does when its medium changes (QEMU's ``BlockDevOps``).

    The defaults are those of a user with a fixed medium, which takes no notice.
    """

    @property
    def has_removable_media(self) -> bool:
        """Whether the medium can be taken out while the device is there."""
        return False

    @property
    def has_tray(self) -> bool:
        """Whether a removable medium lies in a tray."""
        return False

    def is_tray_open(self) -> bool:
        """Whether the tray is open; never without one."""
        return False

    def is_medium_locked(self) -> bool:
        """Whether the guest has locked the tray."""
        return False

    def eject_request(self, *, force: bool) -> None:
        """The guest is asked to let go of the medium.

        :param force: unlock the tray
        """

    def change_media(self, *, load: bool) -> None:
        """A medium has been put in, or has been taken out; the tray moves.

        :raises GenericError: a new medium is refused
        """

    def resized(self) -> None:
        """The medium has another length."""


class DriveInfo(NamedTuple):
    """What a ``-drive`` said that made a backend (QEMU's ``DriveInfo``).

    :param interface: its `if`
    :param bus: number of the bus, among those of the interface
    :param unit: place on the bus
    :param media: disk or cdrom
    :param id: the id given; None where the backend's name was made up
    :param is_default: whether nobody asked for it
    :param location: the option, as messages about it begin
    """

    interface: str
    bus: int
    unit: int
    media: str = "disk"
    id: str | None = None
    is_default: bool = False
    location: str = ""
