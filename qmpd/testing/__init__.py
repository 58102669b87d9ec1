"""Machines for tests.

`Server` is a daemon behind a unix socket, for clients in any language.  `RemoteMachine` is any QMP
server, a real QEMU too, with the face of `qmpd.Machine`.  A test in Python that wants to hold a
machine itself has `qmpd.Machine`, and need not look here.
"""

from __future__ import annotations

from qmpd.testing.remote import RemoteMachine
from qmpd.testing.server import Server

__all__ = ["RemoteMachine", "Server"]
