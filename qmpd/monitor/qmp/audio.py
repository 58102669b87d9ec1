"""The command of schema module audio: a machine of qmpd makes no sound."""

from __future__ import annotations

from typing import Final

from qmpd.monitor.qmp.handlers import Context, Handlers


def query_audiodevs(context: Context, _: None) -> list[object]:
    """There are none."""
    return []


HANDLERS: Final[Handlers] = {
    "query-audiodevs": query_audiodevs,
}
