"""``qmpd`` in which something fails now and then that nobody foresaw, run as a program.

Its arguments are those that the interpreter of a daemon would have; see `tests.exhaustion.beside`.
"""

from __future__ import annotations

import sys
from typing import Any

from qmpd.block.images.memory_image import MemoryImage
from qmpd.block.io.backend import BlockBackend
from qmpd.cli.main import main
from qmpd.jobs.copy.backup import BackupJob
from qmpd.server.chardev.stream import Stream
from qmpd.sim.guests.disk import GuestDisk

WORDS = "nobody foresaw this"
OFFSET = 0xBAD000
JOB = "bad"
BYTE = 0xBA
"""What jobs cannot copy."""
INPUT = b"bad input"


def fails(kind: type, method: str, when: Any) -> None:
    """Let a method fail where `when`, given its arguments, says so."""
    own = getattr(kind, method)

    def failing(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            raise RuntimeError(WORDS)
        return own(*arguments, **named)

    setattr(kind, method, failing)


if __name__ == "__main__":
    fails(BackupJob, "run", lambda job: job.id == JOB)
    fails(BlockBackend, "pwrite_zeroes", lambda _, offset, *__: offset == OFFSET)
    fails(MemoryImage, "pwrite_parts", lambda _, __, parts: parts[0][0] == BYTE)
    fails(GuestDisk, "flush", lambda _: True)
    fails(Stream, "_deliver", lambda _, data, *__: INPUT in data)
    sys.exit(main(sys.argv[sys.argv.index("serve") :]))
