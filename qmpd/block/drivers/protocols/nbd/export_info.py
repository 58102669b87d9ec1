"""What a client has learned of an export in the handshake."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from qmpd.block.drivers.protocols.nbd.protocol import Mode
from qmpd.errors import GenericError


@dataclass(slots=True)
class ExportInfo:
    """An export as its server describes it (``NBDExportInfo``).

    Sizes are in bytes; block sizes are 0 where the server has not told them.
    """

    size: int = 0
    flags: int = 0
    mode: Mode = Mode.SIMPLE
    min_block: int = 0
    max_block: int = 0
    context: int | None = None
    """The number of the metadata context that was asked for; None if there is none."""

    def take_export(self, data: bytes) -> None:
        """Take the information ``export``: size and flags.

        :param data: 10 bytes
        :raises GenericError: it contradicts the block sizes
        """
        self.size, self.flags = struct.unpack(">QH", data)
        if self.min_block and self.size % self.min_block:
            raise GenericError(
                f"export size {self.size} is not multiple of minimum block size {self.min_block}"
            )

    def take_sizes(self, data: bytes) -> None:
        """Take the information ``block size``.

        :param data: 12 bytes
        :raises GenericError: a size is not allowed
        """
        smallest, preferred, largest = struct.unpack(">III", data)
        if not _is_power(smallest):
            raise GenericError(f"server minimum block size {smallest} is not a power of two")
        if not _is_power(preferred) or preferred < smallest:
            raise GenericError(f"server preferred block size {preferred} is not valid")
        if largest < smallest:
            raise GenericError(f"server maximum block size {largest} is not valid")
        self.min_block, self.max_block = smallest, largest


def _is_power(number: int) -> bool:
    return number > 0 and not number & (number - 1)
