"""QEMU's block layer as a programmable test bench.

`Machine` is an emulated QEMU in this process; `aio.Machine` is the same on an event loop of
asyncio or uvloop; `testing.Server` is one in a process of its own, behind a socket.  What goes
wrong is raised as one of `errors`.

>>> import qmpd
>>> with qmpd.Machine(disks={"disk0": "64M"}) as vm:
...     _ = vm.cmd("block-dirty-bitmap-add", node="disk0", name="b0")
...     vm.disk("disk0").write(1 << 20, b"hello")
...     vm.bitmap("disk0", "b0").extents
[(1048576, 65536)]

Nothing is imported before it is used: ``import qmpd`` costs next to nothing.
"""

from __future__ import annotations

from qmpd.version import __version__

TYPE_CHECKING = False
"""As in `typing`, which is not imported here: it costs more than all of this."""

if TYPE_CHECKING:
    from qmpd import aio as aio
    from qmpd import errors as errors
    from qmpd import testing as testing
    from qmpd.api.machine import Machine as Machine

__all__ = ["Machine", "__version__", "aio", "errors", "testing"]


def __getattr__(name: str) -> object:
    if name == "Machine":
        from qmpd.api.machine import Machine

        return Machine
    if name in ("aio", "errors", "testing"):
        from importlib import import_module

        return import_module(f"qmpd.{name}")
    raise AttributeError(f"module 'qmpd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
