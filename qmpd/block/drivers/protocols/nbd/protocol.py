"""The NBD protocol's numbers and layouts (nbd.git, doc/proto.md): fixed newstyle."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import Final

MAGIC: Final = b"NBDMAGIC"
OPTION_MAGIC: Final = b"IHAVEOPT"
OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
REQUEST_MAGIC: Final = 0x25609513
SIMPLE_REPLY_MAGIC: Final = 0x67446698
STRUCTURED_REPLY_MAGIC: Final = 0x668E33EF
EXTENDED_REQUEST_MAGIC: Final = 0x21E41C71
EXTENDED_REPLY_MAGIC: Final = 0x6E8A278C

OLDSTYLE_MAGIC: Final = 0x00420281861253
"""What servers of long ago said in the place of `OPTION_MAGIC`."""

ENDED: Final = "Unexpected end-of-file before all data were read"
"""What QEMU says, client or server, of a peer that leaves in the middle of something."""

FIXED_NEWSTYLE: Final = 1
NO_ZEROES: Final = 2

MAX_STRING: Final = 4096
"""Bytes of the longest name."""

MAX_BUFFER: Final = 32 << 20
"""Bytes of the longest request with data, and of the longest option."""

MAX_EXTENTS: Final = (1 << 20) // 8
"""Extents in a reply to block status."""

OPTION_HEADER: Final = struct.Struct(">8sII")
OPTION_REPLY: Final = struct.Struct(">QIII")
REQUEST: Final = struct.Struct(">IHHQQI")
SIMPLE_REPLY: Final = struct.Struct(">IIQ")
CHUNK: Final = struct.Struct(">IHHQI")
EXTENDED_REQUEST: Final = struct.Struct(">IHHQQQ")
EXTENDED_CHUNK: Final = struct.Struct(">IHHQQQ")


class Mode(IntEnum):
    """Layouts of the headers of requests and replies."""

    SIMPLE = 0
    STRUCTURED = 1
    EXTENDED = 2


class Option(IntEnum):
    """Options of the handshake."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10
    EXTENDED_HEADERS = 11


class OptionReply(IntEnum):
    """Replies to options."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 0x80000001
    ERR_POLICY = 0x80000002
    ERR_INVALID = 0x80000003
    ERR_PLATFORM = 0x80000004
    ERR_TLS_REQD = 0x80000005
    ERR_UNKNOWN = 0x80000006
    ERR_SHUTDOWN = 0x80000007
    ERR_BLOCK_SIZE_REQD = 0x80000008
    ERR_TOO_BIG = 0x80000009
    ERR_EXT_HEADER_REQD = 0x8000000A


class Info(IntEnum):
    """Information about an export in replies to options info and go."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ExportFlag(IntFlag):
    """Transmission flags of an export."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    SEND_FLUSH = 4
    SEND_FUA = 8
    SEND_TRIM = 32
    SEND_WRITE_ZEROES = 64
    SEND_DF = 128
    CAN_MULTI_CONN = 256
    SEND_CACHE = 1024
    SEND_FAST_ZERO = 2048
    BLOCK_STAT_PAYLOAD = 4096


class Command(IntEnum):
    """Requests."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    """Flags of requests."""

    FUA = 1
    NO_HOLE = 2
    DF = 4
    REQ_ONE = 8
    FAST_ZERO = 16
    PAYLOAD_LEN = 32


FLAGS_OF: Final[Mapping[int, int]] = MappingProxyType(
    {
        Command.WRITE_ZEROES: int(CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO),
        Command.BLOCK_STATUS: int(CommandFlag.REQ_ONE),
    }
)
"""Flags that a request may have besides FUA, which all may have."""


class ChunkType(IntEnum):
    """Types of the chunks of structured replies."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    BLOCK_STATUS_EXT = 6
    ERROR = 0x8001

    @staticmethod
    def is_error(kind: int) -> bool:
        """Whether a chunk of this type says that the request has failed."""
        return bool(kind & 0x8000)


DONE: Final = 1
"""Flag of the last chunk of a reply."""

STATE_HOLE: Final = 1
STATE_ZERO: Final = 2

KNOWN_ERRORS: Final = frozenset(
    {
        *(errno.EPERM, errno.EIO, errno.ENOMEM, errno.EINVAL, errno.ENOSPC),
        *(errno.EOVERFLOW, errno.ENOTSUP, errno.ESHUTDOWN),
    }
)
"""The errors that cross the wire, with Linux's numbers."""


def wire_error(code: int) -> int:
    """The NBD error for an errno."""
    if code in (errno.EROFS,):
        return errno.EPERM
    if code in (errno.EFBIG, errno.EDQUOT):
        return errno.ENOSPC
    return code if code in KNOWN_ERRORS else errno.EINVAL


def system_error(code: int) -> int:
    """The errno for an NBD error (``nbd_errno_to_system_errno``)."""
    return code if not code or code in KNOWN_ERRORS else errno.EINVAL


_REPLY_NAMES: Final = MappingProxyType(
    {
        OptionReply.ACK: "ack",
        OptionReply.SERVER: "server",
        OptionReply.INFO: "info",
        OptionReply.META_CONTEXT: "meta context",
        OptionReply.ERR_UNSUP: "unsupported",
        OptionReply.ERR_POLICY: "denied by policy",
        OptionReply.ERR_INVALID: "invalid",
        OptionReply.ERR_PLATFORM: "platform lacks support",
        OptionReply.ERR_TLS_REQD: "TLS required",
        OptionReply.ERR_UNKNOWN: "export unknown",
        OptionReply.ERR_SHUTDOWN: "server shutting down",
        OptionReply.ERR_BLOCK_SIZE_REQD: "block size required",
        OptionReply.ERR_TOO_BIG: "option payload too big",
        OptionReply.ERR_EXT_HEADER_REQD: "extended headers required",
    }
)


UNKNOWN: Final = "<unknown>"
"""How messages call what they have no name for."""


def option_name(option: int) -> str:
    """How messages call an option (``nbd_opt_lookup``)."""
    try:
        return Option(option).name.lower().replace("_", " ")
    except ValueError:
        return UNKNOWN


def reply_name(kind: int) -> str:
    """How messages call a reply to an option (``nbd_rep_lookup``)."""
    try:
        return _REPLY_NAMES[OptionReply(kind)]
    except ValueError:
        return "<unknown>"


def command_name(command: int) -> str:
    """How messages call a request (``nbd_cmd_lookup``)."""
    try:
        return (
            "disconnect"
            if command == Command.DISC
            else Command(command).name.lower().replace("_", " ")
        )
    except ValueError:
        return "<unknown>"
