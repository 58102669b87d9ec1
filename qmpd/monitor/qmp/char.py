"""Commands of schema module char: character devices."""

from __future__ import annotations

from typing import Any, Final

from qmpd.monitor.qmp.handlers import Context, Handlers


def query_chardev(context: Context, _: None) -> list[dict[str, Any]]:
    """All character devices of the process."""
    return context.machine.host.chardev_infos()


HANDLERS: Final[Handlers] = {
    "query-chardev": query_chardev,
}
