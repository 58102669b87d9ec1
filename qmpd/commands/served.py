"""All commands that are served."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from qmpd.commands.backup import BACKUP
from qmpd.commands.bitmaps import BITMAPS
from qmpd.commands.block import BLOCK
from qmpd.commands.block_core import BLOCK_CORE
from qmpd.commands.chain import CHAIN
from qmpd.commands.char import CHAR
from qmpd.commands.control import CONTROL
from qmpd.commands.export import EXPORT
from qmpd.commands.introspect import INTROSPECT
from qmpd.commands.job import JOB
from qmpd.commands.machine import MACHINE
from qmpd.commands.migration import MIGRATION
from qmpd.commands.mirror import MIRROR
from qmpd.commands.misc import MISC
from qmpd.commands.qom import QOM
from qmpd.commands.registry import join
from qmpd.commands.run_state import RUN_STATE
from qmpd.commands.snapshot import SNAPSHOT
from qmpd.commands.transaction import TRANSACTION

SERVED: Final = MappingProxyType(
    join(
        CONTROL,
        INTROSPECT,
        BLOCK_CORE,
        BITMAPS,
        SNAPSHOT,
        MIRROR,
        BACKUP,
        CHAIN,
        EXPORT,
        CHAR,
        TRANSACTION,
        JOB,
        BLOCK,
        QOM,
        MISC,
        RUN_STATE,
        MACHINE,
        MIGRATION,
    )
)
"""Handler of each command served, by name."""
