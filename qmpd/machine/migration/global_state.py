"""What the guest did before it was stopped: QEMU's section ``globalstate``."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from qmpd.base.run_state import RunState
from qmpd.machine.migration.stream import StreamError

if TYPE_CHECKING:
    from qmpd.machine.migration.stream import Input

_NAME: Final = 32
_UNUSED: Final = 68


def global_state(state: RunState) -> bytes:
    """A run state, as it is written."""
    name = state.value.encode()
    return struct.pack(">I", len(name) + 1) + name.ljust(_NAME + _UNUSED, b"\0")


async def load_global_state(stream: Input) -> RunState:
    """Read a run state.

    :raises StreamError: there is none of this name
    :raises Disconnected: the stream ends before
    """
    await stream.number(4)
    name = (await stream.read(_NAME)).split(b"\0")[0].decode("utf-8", "replace")
    await stream.read(_UNUSED)
    try:
        return RunState(name)
    except ValueError:
        raise StreamError(errno.EINVAL, f"invalid parameter value: {name}") from None
