"""Normal forms: what may differ between two runs is replaced, all else must be the same."""

from __future__ import annotations

import re
from typing import Any, Final

_PACKAGES = re.compile(r"Debian [^\"\\ ]*|qmpd-\d[^\"\\ ]*")
GENERATED: Final = re.compile(r"#block\d+")
"""Names that QEMU makes up."""
_RATES = re.compile(r"(\d+ ops; ).*")
VARYING: Final = frozenset(
    {
        *("actual-size", "thread-id", "idle_time_ns", "rd_total_time_ns", "wr_total_time_ns"),
        *("date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec"),
    }
)
"""Members whose numbers are different in each run."""


def normal_text(text: str, scratch: str | None = None) -> str:
    """`text` without generated names, packages, rates and the scratch directory's path."""
    if scratch is not None:
        text = text.replace(scratch, "@TMP@")
    text = _PACKAGES.sub("PACKAGE", text)
    text = GENERATED.sub("#block", text)
    return _RATES.sub(r"\1TIME", text)


def normal(value: Any, scratch: str | None = None) -> Any:
    """`value` of a message, its members in a list so that their order counts."""
    if isinstance(value, dict):
        if set(value) == {"seconds", "microseconds"}:
            return "TIMESTAMP"
        return [
            (name, 0 if name in VARYING else normal(member, scratch))
            for name, member in value.items()
        ]
    if isinstance(value, list):
        return [normal(item, scratch) for item in value]
    return normal_text(value, scratch) if isinstance(value, str) else value
