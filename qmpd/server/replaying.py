"""A server that says again what was recorded."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from qmpd.server.proxy import accept, receive
from qmpd.sim.record.recording import said_in
from qmpd.sim.record.splitter import Splitter

if TYPE_CHECKING:
    from collections.abc import Callable

    from qmpd.sim.record.script import Script


def replay(
    listeners: list[socket.socket], scripts: list[Script], complain: Callable[[str], None]
) -> bool:
    """Play each script to a client, one after the other, in their order.

    :param listeners: where the clients come in
    :param complain: takes a text about a client that asks something else than was recorded
    :returns: whether all have asked what was recorded
    """
    good = True
    for script in scripts:
        with accept(listeners) as client:
            _play(client, script, complain)
        good = good and not script.complaints
    return good


def _play(client: socket.socket, script: Script, complain: Callable[[str], None]) -> None:
    splitter = Splitter()
    told = 0
    with contextlib.suppress(OSError):
        client.sendall(b"".join(script.begin()))
        while data := _read(client):
            for text in splitter.feed(data):
                client.sendall(b"".join(script.take(said_in(text)[0], text)))
                for complaint in script.complaints[told:]:
                    complain(complaint)
                told = len(script.complaints)
    script.end()
    for complaint in script.complaints[told:]:
        complain(complaint)


def _read(client: socket.socket) -> bytes:
    """What the client has sent; descriptors that come with it are of no use here."""
    data, descriptors = receive(client)
    for descriptor in descriptors:
        os.close(descriptor)
    return data
