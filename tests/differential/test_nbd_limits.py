"""How many clients an NBD server takes that was not told."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.programs import qemu_missing
from tests.support.stdio import StdioProgram
from tests.support.versions import qmpd_argv_as, real_argv

pytestmark = [
    pytest.mark.differential,
    pytest.mark.skipif(qemu_missing() is not None, reason=str(qemu_missing())),
]

ARGV = ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"]
ARGV += ["-qmp", "stdio"]
GREETING = b"NBDMAGIC"


@pytest.mark.parametrize("ours", [False, True], ids=["real", "qmpd"])
@pytest.mark.parametrize(("version", "more_than_100"), [("5.2", True), ("7.2", False)])
def test_the_101st_client(version: str, more_than_100: bool, ours: bool, tmp_path: Path) -> None:
    """It is greeted at once, or when another one has gone."""
    argv = qmpd_argv_as(version, ARGV) if ours else real_argv(version, ARGV)
    program = StdioProgram(argv, tmp_path)
    with ExitStack() as clients:
        clients.callback(program.close)
        program.message()
        program.execute({"execute": "qmp_capabilities"})
        addr = {"type": "unix", "data": {"path": "s"}}
        program.execute({"execute": "nbd-server-start", "arguments": {"addr": addr}})
        sockets = [clients.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(101)]
        for client in sockets:
            client.settimeout(20)
            client.connect(str(tmp_path / "s"))
            if client is not sockets[100] or more_than_100:
                assert client.recv(8) == GREETING
        if more_than_100:
            return
        # a round through the monitor: what can be greeted has been
        program.execute({"execute": "query-status"})
        last = sockets[100]
        last.setblocking(False)
        with pytest.raises(BlockingIOError):
            last.recv(8)
        sockets[0].close()
        last.settimeout(20)
        assert last.recv(8) == GREETING
