"""What an NBD server can do that those of other versions of QEMU cannot."""

from __future__ import annotations

from typing import Final, NamedTuple


class Dialect(NamedTuple):
    """What a server offers.

    :param extended_headers: requests and replies with lengths of 64 bits; without them some texts
        are others, and what has no length is refused before what asks for no context
    :param answers_bad_magic: a request that does not begin as one before it hangs up
    :param shares_writable: several connections at a time also where clients may write
    :param lists_early: the names of metadata contexts also before structured replies are agreed on
    :param handshake_seconds: how long a client may take to choose an export, where nothing else is
        said; 0 for ever
    :param max_connections: clients at a time, where nothing else is said; 0 for any number
    """

    extended_headers: bool = True
    answers_bad_magic: bool = True
    shares_writable: bool = True
    lists_early: bool = True
    handshake_seconds: int = 10
    max_connections: int = 100


USUAL: Final = Dialect()
