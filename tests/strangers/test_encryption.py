"""O: tests 087 and 206: encrypted images are refused, in QEMU's words where it has some."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.block.files import Files
from tests.strangers.world import make_images
from tests.support.programs import qemu_missing

pytestmark = pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing()))

PLAIN = {"plain": ("-f", "qcow2", "1M")}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """Both programs beside a plain image, one that AES encrypts and one with LUKS."""
    scratch = tmp_path_factory.mktemp("encryption")
    make_images(scratch, PLAIN)
    for kind, more in (("aes", ""), ("luks", ",encrypt.iter-time=10")):
        make = ["qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=word"]
        make += ["-o", f"encrypt.format={kind},encrypt.key-secret=s{more}", kind, "1M"]
        subprocess.run(make, cwd=scratch / "real", check=True)
        shutil.copy(scratch / "real" / kind, scratch / "ours")
    pair = Files(scratch)
    pair.execute("object-add", **{"qom-type": "secret", "id": "s", "data": "word"})
    yield pair
    pair.close()


@pytest.mark.parametrize("image", ["plain", "aes", "luks"])
@pytest.mark.parametrize(
    "encrypt", [None, {"format": "aes"}, {"format": "luks"}, {"format": "aes", "key-secret": "s"}]
)
def test_refusals(both: Files, image: str, encrypt: Any) -> None:
    file = {"driver": "file", "filename": image}
    options: dict[str, Any] = {"file": file} | ({"encrypt": encrypt} if encrypt else {})
    both.add("qcow2", "n", **options)
    words = "".join(f",encrypt.{name}={value}" for name, value in (encrypt or {}).items())
    line = f"drive_add 0 if=none,id=d,file={image}{words}"
    both.execute("human-monitor-command", **{"command-line": line})
    both.execute("query-named-block-nodes")
    both.delete("n")
    both.execute("human-monitor-command", **{"command-line": "drive_del d"})


def test_what_qmpd_does_not_do_it_says(both: Files) -> None:
    """With a right key QEMU opens the image, and makes such images."""
    program = both.ours
    encrypt = {"format": "luks", "key-secret": "s"}
    file = {"driver": "file", "filename": "luks"}
    options = {"driver": "qcow2", "node-name": "n", "file": file, "encrypt": encrypt}
    answer = program.execute({"execute": "blockdev-add", "arguments": options})[-1]
    told = "Encrypted qcow2 images (format 'luks') are not supported by qmpd"
    assert answer["error"]["desc"] == told
