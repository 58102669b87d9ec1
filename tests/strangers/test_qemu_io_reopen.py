"""P: tests 161 and 142: HMP ``qemu-io DEVICE "reopen ..."`` with -c, -o, -r and -w."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.block.files import Files
from tests.strangers.world import start
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

IMAGES = {
    "base": ("-f", "qcow2", "1M"),
    "mid": ("-f", "qcow2", "-b", "base", "-F", "qcow2", "1M"),
    "top": ("-f", "qcow2", "-b", "mid", "-F", "qcow2", "1M"),
    "raw": ("-f", "raw", "1M"),
}
DRIVE = "if=none,id=d,file=top,node-name=n,file.node-name=f,backing.node-name=b,aio=threads"
LINES = (
    *("", "-r", "-w", "-r -w", "-r -r", "-c none", "-c writethrough", "-c unsafe", "-c foo"),
    *("-c writeback", "-c none -o cache.direct=off", "-o cache.direct=on", "-o cache.direct=foo"),
    *("-o file.cache.direct=on", "-o backing.cache.no-flush=on", "-o cache.no-flush=on"),
    *("-o backing.detect-zeroes=on", "-o backing.detect-zeroes=foo", "-o detect-zeroes=unmap"),
    *("-o discard=unmap,detect-zeroes=unmap", "-o discard=foo", "-o read-only=on -w"),
    *("-o read-only=on", "-w", "-o backing.read-only=off", "-o file.read-only=on"),
    *("-o lazy-refcounts=on", "-o lazy-refcounts=foo", "-o l2-cache-size=64k -o cache-size=1M"),
    *("-o foo=bar", "-o file.foo=bar", "-o driver=raw", "-o driver=qcow2", "-o node-name=x"),
    *("-o file.filename=raw", "-o file.driver=raw", "-o backing.backing.detect-zeroes=on"),
    *("-o backing=b", "-o backing=nothing", "-o file=nothing", "-o file.locking=off"),
    *("-o backing.backing.overlap-check=all", "-o overlap-check=foo", "-o auto-read-only=off"),
    *("-o node-name=n", "-o file.aio=threads", "-c directsync -r", "-w operand", "-x"),
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    options = ("-drive", DRIVE, "-drive", "if=none,id=e,file=raw,format=raw")
    pair = start(tmp_path_factory.mktemp("reopen"), *options, images=IMAGES)
    pair.add("throttle", "nothing-here", **{"throttle-group": "none", "file": "n"})
    yield pair
    pair.close()


@pytest.mark.parametrize("line", LINES)
def test_of_a_chain(both: Files, line: str) -> None:
    both.io("d", f"reopen {line}")
    both.execute("query-named-block-nodes", flat=True)
    both.execute("human-monitor-command", **{"command-line": "info block -v d"})
    both.io("d", "write 0 512")


@pytest.mark.parametrize("line", ["-o size=64k", "-o offset=512", "-o size=1M,offset=1M", "-r"])
def test_of_a_raw_image(both: Files, line: str) -> None:
    both.io("e", f"reopen {line}")
    both.execute("query-named-block-nodes", flat=True)
    both.io("e", "length")


def test_of_a_drive_that_a_device_uses(tmp_path: Path) -> None:
    options = ("-machine", "pc", "-S", "-drive", "if=virtio,id=d,file=raw,format=raw")
    pair = start(tmp_path, *options, images=IMAGES)
    for line in ("-c writethrough", "-c none", "-c unsafe", "-r", "-w"):
        pair.io("d", f"reopen {line}")
        pair.execute("query-block")
    pair.close()
