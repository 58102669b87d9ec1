"""nbd: an NBD server's export.  Of the client there is so far what it says without a server."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from qmpd.block.driver import BlockDriver
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.node import Node


class Nbd(BlockDriver):
    """Connects, and tells when that fails as QEMU does; what follows is not served."""

    format_name = "nbd"
    is_protocol = True

    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        """See `BlockDriver.open`."""
        server = options["server"]
        if server["type"] == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.setblocking(False)
                try:
                    probe.connect(server["path"])
                except OSError as error:
                    reason = os.strerror(error.errno or 0)
                    raise GenericError(
                        f"Failed to connect to '{server['path']}': {reason}"
                    ) from None
        raise NotServed("Block driver 'nbd' is not served by qmpd yet")
