"""Commands of schema module dump: a machine without memory is never dumped."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.qmp.handlers import Context, Handlers

_FORMATS: Final = ("elf", "kdump-zlib", "kdump-raw-zlib", "win-dmp")
"""The forms of the build that is emulated."""


def query_dump(context: Context, _: None) -> dict[str, object]:
    """There has been none: dump-guest-memory is not served."""
    return {"status": "none", "completed": 0, "total": 0}


def query_capability(context: Context, _: None) -> dict[str, object]:
    """The forms that dumps of the real program have."""
    return {"formats": list(_FORMATS)}


HANDLERS: Final[Handlers] = {
    "query-dump": query_dump,
    "query-dump-guest-memory-capability": query_capability,
}
