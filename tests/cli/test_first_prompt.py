"""When the human monitor shows its first prompt: not before the main loop goes round.

While the command line is carried out only some things have it do so: the graph's write lock, and
requests.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support.programs import qemu_missing, qmpd_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

OPTIONS = "-machine pc -display none -nodefaults -S -monitor stdio".split()
NODE = "-blockdev null-co,node-name=n"
LINES = [
    "-device nope",
    "-device virtio-scsi -device scsi-hd",
    "-drive if=none,id=disk -device virtio-scsi -device scsi-hd,drive=disk",
    "-drive if=virtio",
    f"{NODE} -device virtio-scsi -device scsi-hd,drive=n -device nope",
    f"{NODE} -device virtio-blk,drive=n -device virtio-blk,drive=n",
    "-drive if=none,id=d,driver=null-co -device virtio-scsi -device scsi-hd,drive=d -device nope",
    "-drive if=none,id=d,driver=null-co -device ide-hd,drive=d -device nope",
    "-drive if=none,id=d,driver=null-co,read-only=on -device ide-hd,drive=d",
    "-drive if=ide,driver=null-co,read-only=on",
    f"-object iothread,id=i {NODE} -device virtio-scsi,iothread=i -device scsi-hd,drive=n"
    " -device nope",
    "-device virtio-scsi -device scsi-cd -device nope",
]


@pytest.mark.parametrize("line", LINES)
def test_the_first_prompt_and_an_error_of_the_start(line: str) -> None:
    argv = ["qemu-system-x86_64", *OPTIONS, *line.split()]
    said = []
    for program in (argv, qmpd_argv(argv)):
        done = subprocess.run(
            program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        shown = re.sub(r"^(\(qemu\) )?\S+: ", r"\1", done.stdout, flags=re.M)
        said.append((done.returncode, shown))
    assert said[1] == said[0]
