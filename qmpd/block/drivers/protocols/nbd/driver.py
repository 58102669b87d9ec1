"""nbd: a client for NBD exports.  So far it only reports that no server can be reached."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from qmpd.base.override import override
from qmpd.block.model.driver import BlockDriver
from qmpd.block.model.traits import Shape
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.model.node import Node


class Nbd(BlockDriver):
    """Fails with the error of nbd_client_connect if there is no socket; the rest is not served."""

    format_name = "nbd"
    shape = Shape(is_protocol=True)

    @override
    @classmethod
    async def open(cls, node: Node, options: Mapping[str, Any]) -> Self:
        server = options["server"]
        if server["type"] == "unix":
            path = server["path"]
            try:
                is_socket = stat.S_ISSOCK(node.services.storage.mode(path))
            except OSError as error:
                raise _failed(path, error.errno or errno.EIO) from None
            if not is_socket:
                raise _failed(path, errno.ECONNREFUSED)
        raise NotServed("Block driver 'nbd' is not served by qmpd yet")


def _failed(path: str, code: int) -> GenericError:
    return GenericError(f"Failed to connect to '{path}': {os.strerror(code)}")
