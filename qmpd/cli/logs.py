"""Structured logs: one line per record, ``key=value``, on standard error."""

from __future__ import annotations

import json
import logging
from typing import Final

EXTRAS: Final = ("monitor",)
"""Further attributes of records, which lines show where they are set."""


class KeyValueFormatter(logging.Formatter):
    """``time=2026-01-01T00:00:00.000Z level=info logger=qmpd.server monitor=m0 msg="..."``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        time = self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}"
        parts = [f"time={time}", f"level={record.levelname.lower()}", f"logger={record.name}"]
        parts += [f"{name}={getattr(record, name)}" for name in EXTRAS if hasattr(record, name)]
        parts.append(f"msg={json.dumps(record.getMessage(), ensure_ascii=False)}")
        line = " ".join(parts)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def log_to_stderr(verbosity: int) -> None:
    """Log the package's records: from info with 1, from debug with 2."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    logger = logging.getLogger("qmpd")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
