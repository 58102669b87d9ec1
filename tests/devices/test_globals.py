"""``-global``: what it says of devices, as QEMU obeys it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.block.files import Files
from tests.support.programs import qemu_missing, qmpd_argv
from tests.support.stdio import Gone, StdioProgram

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

PC = "-machine pc -accel tcg -S -m 16M -nodefaults -display none -qmp stdio".split()
DISK = "-drive if=none,id=d,driver=null-co,size=1M -device virtio-scsi-pci".split()
DISK += ["-device", "scsi-hd,drive=d,id=hd"]


class _OnPc(Files):
    """Both programs with a SCSI disk on a PC."""

    def __init__(self, scratch: Path, *options: str) -> None:
        self.scratch = scratch
        argv = ["qemu-system-x86_64", *PC, *options, *DISK]
        self.real = self._start(argv, "real")
        self.ours = self._start(qmpd_argv(argv), "ours")


def _read_all(program: StdioProgram) -> None:
    """Read until the program ends."""
    while True:
        program.line()


def test_values(tmp_path: Path) -> None:
    both = _OnPc(
        tmp_path,
        *("-global", "scsi-hd.rotation_rate=7200"),
        *("-global", "driver=scsi-hd,property=write-cache,value=off"),
        *("-global", "scsi-disk-base.serial=abc", "-global", "scsi-hd.serial=def"),
        *("-global", "ide-hd.serial=other", "-global", "iothread.poll-max-ns=3"),
    )
    try:
        for name in ("rotation_rate", "write-cache", "serial", "scsi-id"):
            both.execute("qom-get", path="/machine/peripheral/hd", property=name)
        warnings = [program.stderr().partition(": ")[2] for program in (both.real, both.ours)]
        assert warnings[0] == warnings[1] != ""
    finally:
        both.close()


@pytest.mark.parametrize(
    "value", ["scsi-hd.foo=1", "scsi-hd.rotation_rate=x", "scsi-hd.scsi-id=x", "scsi-hd.drive=d"]
)
def test_what_does_not_fit(value: str, tmp_path: Path) -> None:
    said = []
    argv = ["qemu-system-x86_64", *PC, "-global", value, *DISK]
    for side, words in (("real", argv), ("ours", qmpd_argv(argv))):
        (tmp_path / side).mkdir()
        program = StdioProgram(words, tmp_path / side)
        with pytest.raises(Gone) as gone:
            _read_all(program)
        said.append(str(gone.value).partition(": ")[2])
        program.close()
    assert said[0] == said[1] != ""
