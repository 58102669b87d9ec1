"""What a block graph gets from its surroundings, given once when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from qmpd.block.manners import USUAL
from qmpd.errors import GenericError, NotServed

if TYPE_CHECKING:
    from qmpd.block.images import Storages
    from qmpd.block.manners import Manners
    from qmpd.errors import QmpError
    from qmpd.loop.clock import Clock
    from qmpd.loop.clocks import Clocks
    from qmpd.loop.events import Emit
    from qmpd.loop.secure import Credentials
    from qmpd.loop.stream import Connect, Dial
    from qmpd.loop.task import Handle


@dataclass(frozen=True, slots=True)
class Say:
    """Where the block layer's own words go, which are for the terminal and not for clients."""

    print: Callable[[str], None]
    """Takes text for standard output, line ends included."""
    report: Callable[[str], None]
    """Takes one complaint, without its line end: for standard error, or for the human monitor
    that runs a command at the time."""
    complain: Callable[[str], None]
    """Takes text for standard error that no monitor gets, line ends included."""
    die: Callable[[str], None]
    """Takes a complaint after which the process ends with status 1 (exit(3)).

    It returns where the process is not the machine's to end."""


def no_connection(
    address: Mapping[str, Any], connect: Connect, failed: Callable[[QmpError], None]
) -> Handle:
    """Connect to nothing (`Dial`).

    :raises NotServed: always
    """
    raise NotServed("Connections need a machine that is served: this one has no sockets")


def no_credentials(object_id: str, endpoint: str) -> Credentials:
    """Find no TLS credentials.

    :raises GenericError: always
    """
    raise GenericError(f"No TLS credentials with id '{object_id}'")


@dataclass(frozen=True, slots=True)
class Services:
    """The surroundings of one machine.

    Whatever the block layer, the jobs and the exports need from outside comes from here, and
    only from here: the same seed of `random`, the same requests and a clock that is held give
    the same bytes.
    """

    loop: Clock
    """Runs tasks and timers."""
    clocks: Clocks
    """Tell the time."""
    emit: Emit
    """Takes events."""
    storage: Storages
    """Where the bytes of images live."""
    random: Random
    """Makes names up."""
    say: Say
    parse_json: Callable[[str], object]
    """Reads a text of JSON in QEMU's dialect (a file name that begins with ``json:``)."""
    thread_id: int
    """What queries tell as the id of any thread."""
    manners: Manners = USUAL
    """What is done as one version of QEMU does it."""
    connect: Dial = no_connection
    """Reaches servers."""
    credentials: Callable[[str, str], Credentials] = no_credentials
    """Finds TLS credentials: by their id, and whose they have to be, ``client`` or ``server``."""
