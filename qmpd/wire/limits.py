"""What QEMU's JSON parser allows a message to have (qobject/json-streamer.c)."""

from __future__ import annotations

from typing import Final

SIZE_LIMIT: Final = 64 << 20
"""Limit on the bytes of all tokens of a message (``MAX_TOKEN_SIZE``)."""

COUNT_LIMIT: Final = 2 << 20
"""Limit on the tokens of a message (``MAX_TOKEN_COUNT``)."""

NESTING_LIMIT: Final = 1 << 10
"""Limit on open brackets of both kinds (``MAX_NESTING``)."""
