"""Machines for tests.

`Server` is a daemon behind a unix socket, for clients in any language.  `RemoteMachine` is any QMP
server, a real QEMU too, with the face of `qmpd.Machine`.  A test in Python that wants to hold a
machine itself has `qmpd.Machine`, and needs no more than `ANY`, `Exactly` and `matches` from here,
to say what the journal is to show (`qmpd.sim.journal.journal.Journal`).
"""

from __future__ import annotations

from qmpd.sim.journal.matchers import ANY, Exactly, matches
from qmpd.testing.power import every_power_loss
from qmpd.testing.remote import RemoteMachine
from qmpd.testing.server import Server

__all__ = ["ANY", "Exactly", "RemoteMachine", "Server", "every_power_loss", "matches"]
