"""The command of schema module pci."""

from __future__ import annotations

from typing import Any, Final

from qmpd.monitor.qmp.handlers import Context, Handlers


def query_pci(context: Context, _: None) -> list[dict[str, Any]]:
    """The PCI bus, and all that is on it."""
    from qmpd.machine.devices import pci

    return pci.query_pci(context.machine.devices)


HANDLERS: Final[Handlers] = {
    "query-pci": query_pci,
}
