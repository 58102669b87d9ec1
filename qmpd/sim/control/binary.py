"""Bytes inside of JSON."""

from __future__ import annotations

import base64
import binascii

from qmpd.errors import GenericError


def read_base64(name: str, text: str) -> bytes:
    """The bytes that `text` stands for.

    :param name: of the argument, for the error
    :raises GenericError: it is not base64
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise GenericError(f"Invalid parameter '{name}': it is not base64") from None
