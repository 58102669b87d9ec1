"""Requests that are long to read, and answers that are long to make: what a thread does of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from qmpd.monitor.dispatcher import visible
from qmpd.wire.session import BadRequest, Request, Session

READ_AT_ONCE: Final = 64
"""Requests that cannot be read, that are read at once."""


def read_some(session: Session) -> list[Request | BadRequest]:
    """Read what there is up to a request that can be run; the first may be a large one."""
    read: list[Request | BadRequest] = []
    while len(read) < READ_AT_ONCE and not (read and isinstance(read[-1], Request)):
        request = session.next_request()
        if request is None:
            break
        read.append(request)
    if read:
        read[0].large = True
    return read


def encoded(session: Session, request: Request | BadRequest, encode: Callable[[], bytes]) -> bytes:
    """An answer's bytes; an error's where there is no memory for them."""
    try:
        return encode()
    except Exception as error:
        return in_its_place(session, request, error)


def in_its_place(session: Session, request: Request | BadRequest, error: Exception) -> bytes:
    """An answer that tells why the proper one cannot be sent."""
    told = visible(error)
    try:
        return session.reply_error(request, told)
    except Exception:
        # the id is what cannot be told
        return session.reply_error(BadRequest(told), told)
