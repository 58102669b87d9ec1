"""Command lines that are refused: the same words and the same status as the real programs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import qemu_missing, qmpd_argv

SYSTEM = [
    "-foo",
    "--foo",
    "foo",
    "-qmp",
    "-machine nosuch",
    "-machine none,nosuch=1",
    "-blockdev driver=nosuch",
    "-blockdev driver=null-co",
    "-blockdev driver=null-co,node-name=9",
    "-blockdev driver=null-co,node-name=a,size=x",
    "-blockdev driver=null-co,node-name=a,size=1G",
    "-blockdev driver=null-co,node-name=a,zz=1",
    "-blockdev driver=null-co,node-name=a,read-only=maybe",
    "-blockdev driver=file,node-name=a,filename=/nope/x",
    "-blockdev driver=raw,node-name=a,file.driver=file",
    "-blockdev driver=raw,node-name=a,file=nope",
    '-blockdev {"driver":"null-co"}',
    '-blockdev {"driver":}',
    "-blockdev x",
    "-blockdev =x",
    "-object nosuch,id=a",
    "-object iothread",
    "-object iothread,id=9",
    "-object iothread,id=a,poll-max-ns=-1",
    "-object throttle-group,id=a,x-iops-total=-1",
    "-chardev nosuch,id=a",
    "-chardev socket",
    "-chardev socket,id=a",
    "-chardev socket,id=a,path=/nope/x,server=on,wait=off",
    "-mon chardev=nope",
    "-mon nope",
    "-qmp nosuch:x",
    "-uuid x",
    "-drive if=nosuch",
    "-drive if=none,id=9",
    "-drive if=none,id=d,file=/nope/x",
    "-drive if=none,id=d,file=/nope/x,format=nosuch",
    "-compat nosuch=1",
    "-compat deprecated-input=nosuch",
    "-msg timestamp=maybe",
    "-pidfile /nope/x",
    # given, and empty
    "-drive if=none,id=d,driver=",
    "-drive if=none,id=d,file=x,format=",
    "-drive if=none,id=",
    "-drive if=none,id=d,node-name=",
    "-drive if=none,id=d,driver=null-co,throttling.group=,throttling.bps-total=",
    "-blockdev driver=,node-name=a",
    "-blockdev driver=null-co,node-name=",
    "-blockdev driver=file,node-name=a,filename=",
    "-blockdev driver=qcow2,node-name=a,file=",
    "-chardev socket,id=,path=x",
    "-chardev socket,id=a,path=",
    "-chardev file,id=a,path=",
    "-mon chardev=",
    "-object iothread,id=",
    "-object iothread,id=a,poll-max-ns=",
    "-smp cpus=",
    "-smp 0",
    "-boot menu=",
    "-boot splash-time=",
    "-device driver=",
    # values that are one of a few words, numbers, dates or files
    "-rtc base=x",
    "-rtc base=",
    "-rtc base=12",
    "-rtc clock=x",
    "-rtc driftfix=x",
    "-D /nope/x",
    "-D /tmp",
    "-dfilter x",
    "-dfilter 0x10+",
    "-boot order=a,once=z",
    "-boot order=aa",
    "-m size=1G,slots=2",
    "-m size=1G,maxmem=1M",
    "-seed -1",
    "-sandbox on,obsolete=x",
    "-sandbox on,elevateprivileges=x",
    "-sandbox on,spawn=x",
    "-sandbox on,resourcecontrol=x",
    "-run-with user=nobodyx",
    # ports
    "-parallel x",
    "-parallel tcp:nope",
    "-parallel file:/nope/x",
    "-serial file:/nope/x",
    "-debugcon x",
    "-debugcon null",
    "-serial chardev:nope",
    "-serial mon:chardev:nope",
    "-parallel chardev:",
    "-debugcon chardev:nope",
    "-chardev null,id=a -debugcon chardev:nope",
    # networks
    "-netdev user",
    "-netdev nosuch",
    "-netdev nosuch,id=n",
    "-netdev id=n",
    "-netdev ",
    "-netdev user,id=9",
    "-netdev user,id=n,foo=1",
    "-netdev user,id=n,restrict=x",
    "-netdev user,id=n,ipv6-prefixlen=x",
    "-netdev tap,id=n,vhost=x",
    "-netdev socket,id=n",
    "-netdev hubport,id=n",
    "-netdev l2tpv3,id=n,src=a",
    "-netdev vhost-user,id=n",
    "-netdev dgram,id=n",
    "-netdev dgram,id=n,foo=1",
    "-netdev stream,id=n",
    "-netdev netmap,id=n,ifname=x",
    "-netdev nic,id=n",
    '-netdev {"type":"user"}',
    '-netdev {"type":"nosuch","id":"n"}',
    '-netdev {"type":"user","id":"n","foo":1}',
    "-nic nosuch",
    "-nic user,mac=x",
    "-nic user,mac=01:00:00:00:00:00",
    "-nic user,foo=1",
    "-nic hubport",
    "-net ",
    "-net nosuch",
    "-net help",
    "-net user,foo=1",
    "-net nic,vlan=0",
    "-net nic,macaddr=x",
    "-net socket",
    # warnings before
    "-drive if=none,id=d,driver=qcow2,file.driver=null-co,backing=",
    "-blockdev driver=qcow2,node-name=q,file.driver=null-co,backing=",
    "-device scsi-hd,id=9",
    "-device virtio-blk-pci,ioeventfd",
    "-device x=help",
]
WARNINGS = [
    "-netdev user,id=n",
    "-nic ",
    "-nic user",
    "-nic user,id=n",
    "-nic user,model=nosuch",
    "-nic none",
    "-net user",
    "-net nic",
    "-net nic,model=nosuch",
    "-net none",
    "-net nic -net user",
    "-fw_cfg name=opt/x,string=y -vga std -machine pc",
    "-fw_cfg name=x,string=y -machine pc",
    "-vga std,retrace=dumb",
    "-dfilter 0x1000+0x20,5-2,1..2",
    "-qtest-log /nope/x -qtest null",
    "-rtc base=2006-06-17T16:01:21,clock=vm,driftfix=slew",
    "-rtc base=2006-06-17T16:01",
    "-parallel null",
]
"""Command lines that are accepted, with a warning or without one."""
PC = [
    "-fw_cfg name=opt/x,file=nope",
    "-fw_cfg name=opt/x,gen_id=g -object iothread,id=g",
    "-fw_cfg x",
    "-kernel nope",
    "-bios /nope",
    "-boot splash-time=70000",
    "-boot reboot-timeout=-5",
    "-m size=1G,maxmem=2G,slots=1000",
    "-mem-path ",
    "-smp 3,sockets=2",
    "-smp 1,modules=2",
    "-usbdevice mouse:x",
]
"""Command lines that a board refuses."""
UNSERVED = [
    "-audio none,model=hda",
    "-audiodev pa,id=a",
    "-display curses",
    "-numa node",
    "-run-with chroot=.",
    "-run-with user=0:0",
    "-tpmdev emulator,id=t,chardev=c -chardev null,id=c",
    "-trace file=x",
    "-trace events=x",
    "-usbdevice mouse",
]
"""Command lines that are right, and ask for what qmpd does not do."""
STORAGE_DAEMON = [
    "--foo",
    "foo",
    "--blockdev",
    "--blockdev driver=nosuch",
    "--blockdev driver=null-co",
    "--blockdev driver=null-co,node-name=a,size=x",
    "--object nosuch,id=a",
    "--object iothread",
    "--chardev nosuch,id=a",
    "--monitor nope",
    "--monitor chardev=nope",
    "--pidfile /nope/x",
    "--chardev socket,path=/nope/x,id=a",
    "--nbd-server addr.type=inet,addr.host=,addr.port=",
    "--nbd-server addr.type=unix,addr.path=s,tls-creds=",
    "--export type=nbd,id=,node-name=n",
    "--export type=nbd,id=e,node-name=",
    "--export type=,id=e,node-name=n",
    "--blockdev driver=qcow2,node-name=q,file.driver=null-co,backing=",
]
BARE = ["-machine", "none", "-nodefaults", "-display", "none"]


QUIT = '{"execute": "qmp_capabilities"} {"execute": "quit"}'


def _complaint(argv: list[str], folder: Path, said: str = "") -> tuple[int, str]:
    result = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=20, input=said
    )
    text = result.stderr
    for name in ("qemu-system-x86_64", "qemu-storage-daemon", "main.py"):
        text = text.replace(f"{name}:", "PROGRAM:").replace(f"{name} ", "PROGRAM ")
    return result.returncode, text


def _compare(argv: list[str], folder: Path) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    expected = _complaint(argv, folder)
    assert expected[0] == 1
    assert _complaint(qmpd_argv(argv), folder) == expected


@pytest.mark.parametrize("options", SYSTEM)
def test_system(options: str, tmp_path: Path) -> None:
    _compare(["qemu-system-x86_64", *BARE, *options.split(" ")], tmp_path)


@pytest.mark.parametrize("options", PC)
def test_board(options: str, tmp_path: Path) -> None:
    _compare(["qemu-system-x86_64", "-S", *BARE[2:], *options.split(" ")], tmp_path)


@pytest.mark.parametrize("options", UNSERVED)
def test_unserved(options: str, tmp_path: Path) -> None:
    argv = ["qemu-system-x86_64", "-S", *BARE[2:], *options.split(" ")]
    status, said = _complaint(qmpd_argv(argv), tmp_path)
    assert status == 1
    assert re.fullmatch(r"PROGRAM: .* not served by qmpd\n", said)


@pytest.mark.parametrize("hardware", [BARE, ["-S", "-nodefaults", "-display", "none"]])
@pytest.mark.parametrize("options", WARNINGS)
def test_warnings(options: str, hardware: list[str], tmp_path: Path) -> None:
    reason = qemu_missing()
    if reason is not None:
        pytest.skip(reason)
    argv = ["qemu-system-x86_64", *hardware, "-qmp", "stdio", *options.split(" ")]
    both = [_complaint(each, tmp_path, QUIT) for each in (argv, qmpd_argv(argv))]
    expected, got = ((status, re.sub(r"#net\d+", "#net", text)) for status, text in both)
    assert got == expected
    assert expected[0] == 0


@pytest.mark.parametrize("options", STORAGE_DAEMON)
def test_storage_daemon(options: str, tmp_path: Path) -> None:
    _compare(["qemu-storage-daemon", *options.split(" ")], tmp_path)
