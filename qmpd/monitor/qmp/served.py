"""All commands that are served."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from qmpd.monitor.qmp.backup import BACKUP
from qmpd.monitor.qmp.bitmaps import BITMAPS
from qmpd.monitor.qmp.block import BLOCK
from qmpd.monitor.qmp.block_core import BLOCK_CORE
from qmpd.monitor.qmp.chain import CHAIN
from qmpd.monitor.qmp.char import CHAR
from qmpd.monitor.qmp.control import CONTROL
from qmpd.monitor.qmp.export import EXPORT
from qmpd.monitor.qmp.handlers import join
from qmpd.monitor.qmp.introspect import INTROSPECT
from qmpd.monitor.qmp.job import JOB
from qmpd.monitor.qmp.machine import MACHINE
from qmpd.monitor.qmp.migration import MIGRATION
from qmpd.monitor.qmp.mirror import MIRROR
from qmpd.monitor.qmp.misc import MISC
from qmpd.monitor.qmp.qom import QOM
from qmpd.monitor.qmp.run_state import RUN_STATE
from qmpd.monitor.qmp.snapshot import SNAPSHOT
from qmpd.monitor.qmp.transaction import TRANSACTION

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
