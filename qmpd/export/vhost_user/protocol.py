"""The vhost-user protocol's numbers and layouts (docs.qemu.org, Vhost-user Protocol)."""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, Final

HEADER: Final = struct.Struct("<III")
"""Request, flags, bytes of the payload."""

U64: Final = struct.Struct("<Q")
STATE: Final = struct.Struct("<II")
"""Index of a queue, and a number."""
ADDRESSES: Final = struct.Struct("<IIQQQQ")
"""Index, flags, user addresses of descriptors, used and available ring, log address."""
MEMORY: Final = struct.Struct("<II")
"""Number of regions, padding."""
REGION: Final = struct.Struct("<QQQQ")
"""Guest address, size, user address, offset in the file."""
CONFIG: Final = struct.Struct("<III")
"""Offset, size and flags in front of a part of the configuration."""
LOG: Final = struct.Struct("<QQ")
"""Bytes of the log, offset in the file."""

VERSION: Final = 1
VERSION_MASK: Final = 3
REPLY: Final = 4
NEED_REPLY: Final = 8

MAX_PAYLOAD: Final = 272
"""Bytes of the longest payload that QEMU takes."""
MAX_FDS: Final = 8
"""Descriptors with one message."""
MAX_SLOTS: Final = 509
"""Regions of memory."""

QUEUE_MASK: Final = 0xFF
NO_FD: Final = 0x100
"""Flag in the payload of a message with a queue's descriptor: there is no descriptor."""


class Request(IntEnum):
    """Messages of the front-end that QEMU's back-end for disks handles."""

    NONE = 0
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SET_BACKEND_REQ_FD = 21
    GET_CONFIG = 24
    SET_CONFIG = 25
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38


CONFIG_CHANGE: Final = 2
"""Message to the front-end: the configuration has changed."""


class Feature(IntFlag):
    """Features of virtqueues and of vhost, which do not depend on the device."""

    NOTIFY_ON_EMPTY = 1 << 24
    LOG_ALL = 1 << 26
    INDIRECT_DESC = 1 << 28
    EVENT_IDX = 1 << 29
    PROTOCOL_FEATURES = 1 << 30
    VERSION_1 = 1 << 32


QUEUE_FEATURES: Final = (
    Feature.NOTIFY_ON_EMPTY
    | Feature.LOG_ALL
    | Feature.INDIRECT_DESC
    | Feature.EVENT_IDX
    | Feature.PROTOCOL_FEATURES
    | Feature.VERSION_1
)
"""Features that every back-end of QEMU offers."""


class ProtocolFeature(IntFlag):
    """Features of the protocol."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    REPLY_ACK = 1 << 3
    BACKEND_REQ = 1 << 5
    PAGEFAULT = 1 << 8
    CONFIG = 1 << 9
    BACKEND_SEND_FD = 1 << 10
    HOST_NOTIFIER = 1 << 11
    CONFIGURE_MEM_SLOTS = 1 << 15


OFFERED: Final = (
    ProtocolFeature.MQ
    | ProtocolFeature.LOG_SHMFD
    | ProtocolFeature.REPLY_ACK
    | ProtocolFeature.BACKEND_REQ
    | ProtocolFeature.CONFIG
    | ProtocolFeature.BACKEND_SEND_FD
    | ProtocolFeature.HOST_NOTIFIER
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
)
"""Features that QEMU's back-end offers for disks, without PAGEFAULT (postcopy migration), which
depends on userfaultfd."""


class Panic(Exception):
    """The front-end broke the protocol, and its connection ends; the text is QEMU's."""


@dataclass(slots=True)
class Message:
    """A message.

    :param fds: its descriptors; those that are not taken are closed
    """

    request: int
    flags: int = VERSION
    payload: bytes = b""
    fds: list[int] = field(default_factory=list)

    def read(self, layout: struct.Struct, offset: int = 0) -> tuple[Any, ...]:
        """Fields at `offset` of the payload; the missing part of a short payload is zero."""
        part = self.payload[offset : offset + layout.size]
        return layout.unpack(part.ljust(layout.size, b"\0"))

    def take_fd(self) -> int:
        """Take the first descriptor, which the caller then owns."""
        return self.fds.pop(0)

    def take_usable_fd(self, *, socket: bool = False) -> int:
        """Take the first descriptor, if it can be used.

        :param socket: it may be a socket.  Otherwise it might be the client's own end of this
            connection: held here it would keep the connection from ever ending, as it does in QEMU
        :raises Panic: it may not, or can only say where a file is (O_PATH); QEMU aborts there
        """
        try:
            os.set_blocking(self.fds[0], False)
        except OSError as error:
            raise Panic(f"Invalid fds in request: {int(self.request)}: {error.strerror}") from None
        if not socket and stat.S_ISSOCK(os.fstat(self.fds[0]).st_mode):
            raise Panic(f"Invalid fds in request: {int(self.request)}: a socket")
        return self.take_fd()

    def close_fds(self) -> None:
        """Close the descriptors that were not taken."""
        while self.fds:
            os.close(self.fds.pop())

    def reply(self, payload: bytes) -> Message:
        """An answer to it."""
        return Message(self.request, self.flags & ~VERSION_MASK | VERSION | REPLY, payload)

    def reply_number(self, value: int) -> Message:
        """A reply with a number, without the flags of the request."""
        return Message(self.request, VERSION | REPLY, U64.pack(value))

    def encode(self) -> bytes:
        """Its bytes."""
        return HEADER.pack(self.request, self.flags, len(self.payload)) + self.payload
