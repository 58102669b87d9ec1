"""AC: test 060: what is said when a qcow2 image turns out to be corrupt."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from tests.strangers.world import SIDES, make_images
from tests.support.programs import qemu_missing, qmpd_argv

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

UNALIGNED = 1 << 63 | 0x50200


def break_l2_table(path: Path) -> None:
    """Let the first cluster be where none can be."""
    with path.open("r+b") as file:
        file.seek(40)
        file.seek(*struct.unpack(">Q", file.read(8)))
        (entry,) = struct.unpack(">Q", file.read(8))
        file.seek(entry & 0x00FFFFFFFFFFFE00)
        file.write(struct.pack(">Q", UNALIGNED))


@pytest.mark.parametrize("options", [(), ("-incoming", "defer")])
def test_the_words(tmp_path: Path, options: tuple[str, ...]) -> None:
    make_images(tmp_path, {"image": ("-f", "qcow2", "1M")})
    said = []
    for side in SIDES:
        image = tmp_path / side / "image"
        write = ["qemu-io", "-c", "write 0 64k", "image"]
        subprocess.run(write, cwd=image.parent, check=True, stdout=subprocess.DEVNULL)
        break_l2_table(image)
        argv = ["qemu-system-x86_64", "-machine", "none", "-S", "-display", "none", "-nodefaults"]
        argv += ["-monitor", "stdio", "-drive", "if=none,id=d,file=image", *options]
        done = subprocess.run(
            argv if side == "real" else qmpd_argv(argv),
            cwd=image.parent,
            input='qemu-io d "read 0 64k"\nqemu-io d "read 0 64k"\nquit\n',
            capture_output=True,
            text=True,
            timeout=60,
        )
        said.append((done.returncode, done.stderr))
    assert said[1] == said[0]
    assert "corrupt: Cluster allocation offset 0x50200 unaligned" in said[0][1]
