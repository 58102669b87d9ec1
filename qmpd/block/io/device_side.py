"""A block backend, as its device sees it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.block.io.device_ops import BlockDevOps


class DeviceSide:
    """The device on a backend, and what it does about failures."""

    def __init__(self) -> None:
        self.device_id: str | None = None
        """Id or path of the device attached, None where there is none."""
        self.dev_ops: BlockDevOps | None = None
        """What the device or export does about changes of the medium."""
        self.on_read_error = "report"
        self.on_write_error = "enospc"
        """What the device does about requests that fail: report, ignore, stop or enospc."""
        self._keeps_io_status = False
        self._io_status = "ok"

    def attach_device(self, device_id: str) -> None:
        """Put the backend to use by a device (``blk_attach_dev``).

        :param device_id: the device's id or path
        """
        self.device_id = device_id

    def set_dev_ops(self, ops: BlockDevOps | None) -> None:
        """Have `ops` told of changes of the medium (``blk_set_dev_ops``)."""
        self.dev_ops = ops

    def detach_device(self) -> None:
        """Take it from its device again (``blk_detach_dev``)."""
        self.device_id = self.dev_ops = None
        self._keeps_io_status = False

    @property
    def has_removable_media(self) -> bool:
        """Whether the medium can be taken out: where there is no device, it can."""
        return self.device_id is None or (
            self.dev_ops is not None and self.dev_ops.has_removable_media
        )

    @property
    def has_tray(self) -> bool:
        """Whether its device has a tray."""
        return self.dev_ops is not None and self.dev_ops.has_tray

    def is_tray_open(self) -> bool:
        """Whether its device's tray is open."""
        return self.dev_ops is not None and self.dev_ops.is_tray_open()

    def is_medium_locked(self) -> bool:
        """Whether its device's tray is locked."""
        return self.dev_ops is not None and self.dev_ops.is_medium_locked()

    def set_on_error(self, read: str, write: str) -> None:
        """Set what its device does about requests that fail (``blk_set_on_error``)."""
        self.on_read_error, self.on_write_error = read, write

    def enable_io_status(self) -> None:
        """Keep from now on what the last failure was (``blk_iostatus_enable``)."""
        self._keeps_io_status = True
        self._io_status = "ok"

    @property
    def io_status(self) -> str | None:
        """ok, failed or nospace; None unless it is kept and a failure may stop the guest."""
        stops = self.on_write_error in ("enospc", "stop") or self.on_read_error == "stop"
        return self._io_status if self._keeps_io_status and stops else None

    def set_io_error(self, code: int) -> None:
        """Remember the first failure, an errno (``blk_iostatus_set_err``)."""
        if self._io_status == "ok":
            self._io_status = "nospace" if code == errno.ENOSPC else "failed"

    def reset_io_status(self) -> None:
        """Forget failures (``blk_iostatus_reset``)."""
        self._io_status = "ok"
