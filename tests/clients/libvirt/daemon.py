"""A private libvirtd: in a mount namespace, with directories of its own, and no KVM.

libvirt would use KVM where it can, and qmpd has none: without ``/dev/kvm`` both programs are asked
for the same.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

QEMU_CONF: Final = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
dynamic_ownership = 0
remember_owner = 0
"""

PLACES: Final = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
"""Directories of libvirt's, each replaced by one of the test's."""

_SEEN: Final = re.compile(rb"QEMU_MONITOR_IO_WRITE: mon=(0x[0-9a-f]+) buf=(\{.*\})")


@cache
def libvirt_missing() -> str | None:
    """Why there is no libvirt to test with; None when there is one."""
    for program in ("libvirtd", "virsh", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    version = subprocess.run(["virsh", "--version"], capture_output=True, text=True).stdout
    if int(version.split(".")[0]) < 11:
        return f"needs libvirt 11, found {version.strip()}"
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"]).returncode:
        return "libvirt needs root, and a mount namespace of its own"
    return None


class Libvirtd:
    """A running libvirtd.

    :param place: an empty directory for it
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        self._read = 0
        for name in PLACES:
            (place / name[1:]).mkdir(parents=True)
        (place / "etc/libvirt/qemu.conf").write_text(QEMU_CONF)
        (place / "no-kvm").touch()
        (place / "run").mkdir()
        self.run = place / "run/libvirt/qemu"
        (place / "libvirtd.conf").write_text(
            'unix_sock_rw_perms = "0700"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
            'log_filters = "1:qemu.qemu_monitor"\n'
            f'log_outputs = "1:file:{self.log}"\n'
        )
        self._socket = place / "run/libvirt/libvirt-sock"
        self.uri = f"qemu:///system?socket={self._socket}"
        # what keeps the namespace, so that a daemon that is started again finds its machines
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", self._script()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"ready\n"
        self.start()

    @property
    def inside(self) -> list[str]:
        """What runs a program where libvirt's own directories are those of this daemon."""
        return ["nsenter", "--mount", f"--target={self._keeper.pid}"]

    def _script(self) -> str:
        place = shlex.quote(str(self.place))
        mounts = [f"mount --bind {place}{name} {name}" for name in PLACES]
        return "\n".join(
            [
                "set -e",
                *mounts,
                f"mount --bind {place}/run /run",
                "if [ -e /dev/kvm ]; then",
                # root may do anything but write to a file system that is read only
                f"mount --bind {place}/no-kvm /dev/kvm; mount -o remount,bind,ro /dev/kvm; fi",
                "echo ready",
                "exec cat",
            ]
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        config = str(self.place / "libvirtd.conf")
        self._daemon = subprocess.Popen([*self.inside, "libvirtd", "-f", config])
        deadline = time.monotonic() + 60
        while not self._socket.exists():
            assert self._daemon.poll() is None, "libvirtd has ended"
            assert time.monotonic() < deadline, "libvirtd does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; its machines live on."""
        self._daemon.terminate()
        self._daemon.wait(60)
        self._socket.unlink(missing_ok=True)

    def close(self) -> None:
        """End it, the machines that are still there, and the namespace."""
        self.stop()
        for path in self.run.glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(60)

    def virsh(self, script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run commands of virsh's, with ``;`` between them."""
        return subprocess.run(
            ["virsh", "-q", "-c", self.uri, script],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def requests(self) -> list[dict[str, Any]]:
        """What libvirt has sent to its machines since this was last asked, without ids."""
        with open(self.log, "rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        found = []
        for match in _SEEN.finditer(text):
            request = json.loads(match[2])
            request.pop("id", None)
            found.append(request)
        return found
