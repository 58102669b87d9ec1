"""How settings of migrations are refused."""

from __future__ import annotations

from qmpd.errors import GenericError


def refuse(wrong: bool, text: str) -> None:
    """Complain, if something is wrong.

    :raises GenericError: it is; with `text`
    """
    if wrong:
        raise GenericError(text)
