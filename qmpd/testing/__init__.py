"""Machines for tests.

`Server` is a daemon behind a unix socket, for clients in any language.  `RemoteMachine` is any QMP
server, a real QEMU too, with the face of `qmpd.Machine`; `RealMachine` starts one.
`MachineTestCase` is a test of unittest with a machine; for pytest there is a plugin
(`qmpd.testing.plugin`).  `every_power_loss` runs a scenario once for each point at which the power
may go.  `ANY`, `Exactly` and `matches` say what the journal is to show.

Nothing is imported before it is used: pytest loads the plugin at each start.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As in `typing`, which is not imported here."""

if TYPE_CHECKING:
    from qmpd.sim.journal.matchers import ANY as ANY
    from qmpd.sim.journal.matchers import Exactly as Exactly
    from qmpd.sim.journal.matchers import matches as matches
    from qmpd.testing.case import MachineTestCase as MachineTestCase
    from qmpd.testing.orders import schedules as schedules
    from qmpd.testing.power import every_power_loss as every_power_loss
    from qmpd.testing.real import RealMachine as RealMachine
    from qmpd.testing.remote import RemoteMachine as RemoteMachine
    from qmpd.testing.server import Server as Server

__all__ = [
    "ANY",
    "Exactly",
    "MachineTestCase",
    "RealMachine",
    "RemoteMachine",
    "Server",
    "every_power_loss",
    "matches",
    "schedules",
]

_PLACES = {
    "ANY": "qmpd.sim.journal.matchers",
    "Exactly": "qmpd.sim.journal.matchers",
    "MachineTestCase": "qmpd.testing.case",
    "RealMachine": "qmpd.testing.real",
    "RemoteMachine": "qmpd.testing.remote",
    "Server": "qmpd.testing.server",
    "every_power_loss": "qmpd.testing.power",
    "matches": "qmpd.sim.journal.matchers",
    "schedules": "qmpd.testing.orders",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'qmpd.testing' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
