"""What a program has imported when it greets its first client."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    *("pydantic", "pyroaring", "ctypes", "tempfile", "shutil", "argparse"),
    *("qmpd.machine.parts", "qmpd.block.model.graph", "qmpd.jobs", "qmpd.export.nbd.export"),
    *("qmpd.monitor.qmp.control", "qmpd.qapi.runtime.type_table", "qmpd.wire.json_lexer"),
)
"""Modules that no greeting needs."""

GREETING = f"""
import sys
from random import Random

import qmpd.cli.storage_daemon.main
import qmpd.cli.storage_daemon.options
import qmpd.server.chardev.stdio
from qmpd.block.images import new_storage
from qmpd.cli.process import Process, access_of_environment
from qmpd.loop.clock import VirtualClock
from qmpd.loop.clocks import Clocks
from qmpd.machine.machine import Machine
from qmpd.monitor.monitors import Monitors

clocks = Clocks.of(VirtualClock())
machine = Machine(clocks, new_storage(access_of_environment()), random=Random(0), thread_id=1)
monitor = Monitors(machine).add_qmp("m")
monitor.opened()
assert b"QMP" in monitor.output()
print(*sorted(sys.modules.keys() & {HEAVY!r}))
monitor.feed(b'{{"execute": "qmp_capabilities"}}')
assert monitor.output() == b'{{"return": {{}}}}\\r\\n'
"""


def test_a_greeting_needs_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", GREETING], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
