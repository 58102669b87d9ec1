"""Names and options of NBD exports, as commands and drives are given them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drivers.pair import SIDES, Drivers
from tests.support.nbd_servers import serve, stop

NAMES = (
    *("nbd", "nbd:", "nbd:unix:s", "nbd:unix:s:exportname=", "nbd:unix:s:exportname=x"),
    *("nbd+unix:///exp?socket=s", "nbd+unix://?socket=s", "nbd+unix:///q%20q?socket=s"),
    *("nbd+unix:///q q?socket=s", "nbd+unix:///x?socket=s&a=b", "nbd+unix:///x"),
    *("nbd+unix:///?sock=x", "nbd://?socket=s", "nbd:///", "nbd://localhost"),
    *("nbd://localhost:1/exp", "nbd+tcp://127.0.0.1:1/e", "nbd+tcp:127.0.0.1:1"),
    *("nbd:127.0.0.1:1", "nbd:127.0.0.1", "nbd::1", "nbd:[::1]:1", "nbd:[::1]", "NBD:unix:s"),
    *("nbd:127.0.0.1:1,to=x", "nbd:127.0.0.1:1,ipv4=x", "nbd:127.0.0.1:1,ipv4=on:exportname=u"),
    *("nbd://[::1]:1/a/b", "nbd://u@127.0.0.1:1/", "nbd://127.0.0.1:x/", "nbd://127.0.0.1:99999/"),
    *("nbd+unix:///%zz?socket=s", "nbd+unix:///?socket=%73", "nbd+unix:/?socket=s", "nbd:unix:"),
    *("nbd+unix:///exp?socket=s#f", "nbd://127.0.0.1:0/", "nbd://127.0.0.1:/"),
    *("nbd+unix:///exp?socket=%2573", "nbd+unix://h/?socket=s"),
)

DRIVES = (
    *("driver=nbd", "driver=nbd,path=s", "driver=nbd,file.path=s", "driver=nbd,host=127.0.0.1"),
    *("driver=nbd,host=127.0.0.1,port=1", "driver=nbd,port=1", "driver=nbd,path=a,port=1"),
    *("driver=nbd,path=a,host=1", "driver=nbd,path=a,server.type=unix,server.path=b"),
    *("driver=nbd,export=exp,server.type=unix,server.path=s", "driver=nbd,server.type=unix"),
    *("driver=nbd,server.path=x", "driver=nbd,server.type=foo,server.path=x"),
    *(
        "driver=nbd,server.type=unix,server.path=s,server.bar=x",
        "driver=nbd,path=s,export=exp,foo=x",
    ),
    *("driver=nbd,file=nbd:unix:s:exportname=exp", "driver=nbd,file=nbd+unix:///exp?socket=s"),
    *("driver=nbd,file=nbd:unix:s,export=x", "driver=nbd,file=nbd:unix:s,server.type=unix"),
    *("driver=raw,file=nbd:unix:s:exportname=exp", "driver=raw,file=nbd:unix:s,file.export=x"),
    *("driver=raw,file.driver=nbd,file.path=s,file.export=exp", "driver=nbd,file=x"),
    *("file=nbd+unix:///exp?socket=s", "driver=qcow2,file=nbd+unix:///exp?socket=s"),
    *("file=nbd+unix:///exp?socket=s,read-only=on", "file.driver=nbd,file.path=s,file.export=exp"),
    "driver=nbd,path=s,export=exp,open-timeout=3,reconnect-delay=4",
    'file=json:{"driver":"nbd",,"path":"s",,"export":"exp"}',
    'file=json:{"driver":"nbd",,"server.type":"unix",,"server.path":"s",,"export":"exp"}',
    'file=json:{"driver":"nbd",,"server":{"type":"inet",,"host":"127.0.0.1",,"port":1}}',
)


@pytest.fixture(scope="module")
def running(programs: Drivers) -> Iterator[None]:
    """A qcow2 image behind a server on each side."""
    programs.image("create", "-q", "-f", "qcow2", "q.qcow2", "1M")
    servers = [serve("qemu-nbd", programs.scratch / side, "q.qcow2") for side in SIDES]
    yield
    for server in servers:
        stop(server)


@pytest.fixture
def nbd(pair: Drivers, running: None) -> Drivers:
    return pair


def test_names_of_overlays(nbd: Drivers) -> None:
    for name in NAMES:
        nbd.add("null-co", "n", size=1 << 20)
        nbd.execute(
            "blockdev-snapshot-sync",
            **{"node-name": "n", "snapshot-file": name, "mode": "existing", "format": "raw"},
        )
        nbd.execute("query-named-block-nodes", flat=True)
        nbd.delete("n")


def test_drives(nbd: Drivers) -> None:
    for options in DRIVES:
        options = options.replace('"', '\\"')
        nbd.execute(
            "human-monitor-command", **{"command-line": f'drive_add 0 "if=none,id=d,{options}"'}
        )
        nbd.execute("query-named-block-nodes")
        nbd.execute("query-block")
        nbd.execute("human-monitor-command", **{"command-line": "drive_del d"})


def test_a_backing_file_behind_a_server(nbd: Drivers) -> None:
    make = ("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2")
    nbd.image(*make, "-b", "nbd+unix:///exp?socket=s", "top.qcow2", "1M")
    nbd.add("qcow2", "t", file={"driver": "file", "filename": "top.qcow2"})
    nbd.look()
    nbd.io("t", "write 0 64k", "read 0 128k", "map")
    nbd.delete("t")
