"""`qemu.machine`, where QEMU's sources are, which alone have it (``make iotests`` fetches them)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.pages import ROOT
from tests.support.programs import qemu_missing

PYTHON: Final = Path(os.environ.get("QEMU_SRC") or ROOT / "build" / "qemu-sources") / "python"

SCRIPT: Final = """
import sys
from qemu.machine import QEMUMachine
from qemu.machine.machine import VMLaunchFailure

program, folder = sys.argv[1:]
for address in (None, folder + "/monitor"):
    with QEMUMachine(program, base_temp_dir=folder, monitor_address=address) as vm:
        vm.add_args("-nodefaults", "-blockdev", "null-co,node-name=disk0,size=1048576")
        vm.set_machine("q35")
        vm.set_console()
        vm.launch()
        print(vm.is_running(), vm.cmd("query-status")["status"])
        vm.cmd("block-dirty-bitmap-add", node="disk0", name="b")
        print(vm.qmp("block-dirty-bitmap-add", node="disk0", name="b")["error"]["desc"])
        vm.send_fd_scm(file_path="/dev/null")
        vm.cmd("getfd", fdname="handed over")
        vm.cmd("stop")
        print(vm.event_wait("STOP", timeout=10)["event"])
    print(vm.exitcode(), repr(vm.get_log()))

vm = QEMUMachine(program, ["-nodefaults", "-blockdev", "null-co"], base_temp_dir=folder)
try:
    vm.launch()
except VMLaunchFailure as failure:
    print(failure.exitcode, failure.output.partition(": ")[2])
"""

SAID: Final = """\
True running
Bitmap already exists: b
STOP
0 ''
True running
Bitmap already exists: b
STOP
0 ''
1 -blockdev null-co: 'node-name' must be specified for the root node

"""


@pytest.mark.parametrize("program", ["qmpd-system", "qemu-system-x86_64"])
def test_a_machine(program: str, tmp_path: Path) -> None:
    if not (PYTHON / "qemu" / "machine").exists():
        pytest.skip("QEMU's sources, which have qemu.machine, are not there")
    if program != "qmpd-system" and (missing := qemu_missing()):
        pytest.skip(missing)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, program, str(tmp_path)],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(PYTHON)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == SAID, done.stderr
