"""``-readconfig``: each version makes the same of a file, and says the same of a wrong one."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.versions import MEASURED, both_argv, by_turns

COMMANDS: Final = ("qmp_capabilities", "query-name", "query-chardev", "query-block", "quit")
_BEGIN: Final = re.compile(r"^(?:/\S*/)?(?:qemu-[a-z0-9_.-]+|main\.py)(?=:)", re.M)

RIGHT: Final = {
    "empty": "\n# nothing\n",
    "all that may be": """
[chardev "c"]
  backend = "ringbuf"
  size = "64"
[mon "x"]
  chardev = "c"
  mode = "readline"
[drive "d"]
  if = "none"
  driver = "null-co"
  node-name = "n"
[machine]
  graphics = "off"
[name]
  guest = "fred"
  process = "f,g"
[rtc]
  base = "utc"
[netdev "n"]
  type = "user"
[smp-opts]
  cpus = "1"
[boot-opts]
  menu = "on"
[memory]
  size = "64M"
[action]
  reboot = "shutdown"
""",
    "objects with what is within": """
[object "g"]
  qom-type = "throttle-group"
  limits.iops-total = "100"
""",
    "what is ignored": '[acpi]\nfile = "nope"\n[smbios]\ntype = "x"\n[option-rom]\nbootindex = "1"',
    "an option for the sound": '[audiodev "a"]\ndriver = "none"',
    "twice the same": '[name]\nguest = "a"\n[name]\nguest = "b"',
}
WRONG: Final = {
    "no group": 'x = "1"',
    "no such group": '[nosuch]\nx = "1"',
    "no such group, and nothing in it": "[nosuch]",
    "no end of the group": "[chardev",
    "no line at all": '[chardev "c"]\nbackend = "null"\n   \n',
    "no such parameter": '[chardev "c"]\nbackend = "null"\nbad = "1"\n[drive "d"]\nx = "1"',
    "no blanks": '[chardev "c"]\nbackend="null"',
    "no identifier": '[chardev "9"]\nbackend = "null"\n',
    "an id twice": '[chardev "c"]\nbackend = "null"\n[chardev "c"]\nbackend = "null"\n',
    "an id where there is none": '[memory]\nid = "x"\nsize = "3"',
    "an id in the header where there is none": '[memory "x"]\nsize = "3"',
    "two ids": '[chardev "c"]\nid = "e"\nbackend = "nosuch"',
    "no size": '[memory]\nsize = "x"',
    "no size, and more": '[memory]\nsize = "x"\n[memory]\n',
    "no identifier, and more": '[chardev "9"]\nbackend = "null"\n[memory]\n',
    "no boolean": '[chardev "c"]\nbackend = "null"\nmux = "maybe"',
    "no date": '[rtc]\nbase = "zz"',
    "no such machine": '[machine]\nfoo = "1"',
    "no number of processors": '[smp-opts]\ncpus = "x"',
    "no such order": '[boot-opts]\norder = "zz"\nmenu = "q"',
    "no such action": '[action]\nreboot = "q"',
    "no such accelerator": '[accel]\naccel = "q"',
    "no such file": '[chardev "c"]\nbackend = "file"\npath = "/nope/x"',
    "no driver": '# one\n[drive "d"]\n  if = "none"\n  x = "1"\n',
    "no such driver": '[drive "d"]\n  if = "none"\n  driver = "nosuch"\n',
    "no such model": '[device "d"]\ndriver = "nosuch"',
    "no such file system": '[fsdev "f"]\nfsdriver = "nosuch"',
    "no chip": '[tpmdev "t"]\ntype = "nosuch"',
    "no character device": '[mon]\nmode = "control"',
    "no firmware": '[fw_cfg]\nname = "x"',
    "a standard stream": '[add-fd]\nfd = "1"\nset = "1"',
    "a wrong seal": '[sandbox]\nenable = "on"\nspawn = "q"',
    "a wrong lock": '[overcommit]\nmem-lock = "x"',
    "sound that is not there": '[audiodev "a"]\ndriver = "x"',
}


def _ended(argv: list[str], folder: Path) -> tuple[int, str, str]:
    said = "".join(json.dumps({"execute": name}) for name in COMMANDS)
    run = subprocess.run(argv, cwd=folder, input=said, capture_output=True, text=True, timeout=60)
    # when an event comes, and how names begin that are made up, is no matter here
    answers = sorted(line for line in run.stdout.splitlines() if '"return"' in line)
    return run.returncode, _BEGIN.sub("qemu", run.stderr), re.sub(r"#block\d+", "#", str(answers))


@by_turns("text", RIGHT | WRONG)
def test_same_as_qemu(text: str, version: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    line = "qemu-system-x86_64 -machine none -nodefaults -display none -qmp stdio -readconfig file"
    real, ours = (_ended(argv, tmp_path) for argv in both_argv(version, line.split()))
    assert ours == real


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("name", ["nosuch", "."])
def test_no_file(name: str, version: str, tmp_path: Path) -> None:
    line = "qemu-system-x86_64 -machine none -nodefaults -display none -readconfig"
    real, ours = (_ended(argv, tmp_path) for argv in both_argv(version, [*line.split(), name]))
    assert ours == real
