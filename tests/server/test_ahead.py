"""What is done ahead of the first commands: small steps, and nothing is left for the commands."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from qmpd.monitor.qmp.served import SERVED
from qmpd.server.ahead import load_ahead
from tests.support.machines import TestMachine

steps = sum(1 for _ in load_ahead(TestMachine().machine))
assert steps > 50 and not SERVED.import_next()
before = set(sys.modules)
other = TestMachine()
other.execute("blockdev-add", driver="null-co", node_name="n")
other.execute("query-named-block-nodes")
assert set(sys.modules) == before, set(sys.modules) - before
"""


def test_nothing_is_left_for_the_first_commands() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
