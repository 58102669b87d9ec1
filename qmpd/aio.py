"""Machines on the running event loop, of asyncio or uvloop.

>>> import asyncio
>>> from qmpd import aio
>>> async def main():
...     async with aio.Machine(disks={"disk0": "64M"}) as vm:
...         return await vm.cmd("query-status")
>>> asyncio.run(main())
{'status': 'running', 'running': True}
"""

from __future__ import annotations

from qmpd.api.aio import Machine
from qmpd.api.aio_handles import Clock, Disk, Job

__all__ = ["Clock", "Disk", "Job", "Machine"]
