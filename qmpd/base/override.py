"""`override`, which marks a method that does what its base class documents.

Python has it from 3.12 on; ``typing_extensions`` costs too much to import when a program starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["override"]

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method):
        """Mark `method` as an override, for readers and type checkers only."""
        return method
