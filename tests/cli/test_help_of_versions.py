"""What options take in each version: their help, and what is said of what they do not take."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from qmpd.cli.system.option_groups import option_groups
from qmpd.options import groups
from qmpd.options.qemu_opts import OptionGroup
from qmpd.profile.shipped import DEFAULT, load
from tests.support.versions import MEASURED, both_argv, by_turns

HELPS: Final = (
    *("-chardev help", "-drive format=help", "-netdev help", "-vga help -machine pc", "-d help"),
    *("-vga help", "-object help", "-object iothread,help", "-object secret,?"),
    *("-object throttle-group,help", "-object memory-backend-ram,help", "-object nosuch,help"),
    *("-d trace:help", "-trace help", "-msg help", "-add-fd help", "-global help", "-iscsi help"),
    *("-boot help", "-smp help", "-rtc help", "-overcommit help", "-action help"),
)
DAEMONS: Final = ("--chardev help", "--object help", "--object iothread,help")
REFUSED: Final = (
    *("-vga nosuch", "-vga std,retrace=", "-vga std,x", "-vga cg3"),
    *("-vga std,", "-d nosuch", "-d cpu,", "-d trace:", "-d tid", "-D a%s", "-D a -d tid"),
    *("-object iothread,id=o,zz=1", "-object nosuch,id=o", "-object iothread,id=o,nozz"),
    *("-object secret,id=o", "-object memory-backend-ram,id=o", "-object ="),
    *("-object memory-backend-ram,id=o,size=x", "-object throttle-group,id=o,limits.x=1"),
    *("-object memory-backend-ram,id=o,size=1M,host-nodes=x", "-object filter-buffer,id=o"),
    *("-object memory-backend-ram,id=o,size=1M,prealloc-threads=x", "-object rng-random,x,id=o"),
    *("-chardev null,id=c,mouse=x", "-chardev null,id=c,input-path=x", "-chardev null,id=c,x=1"),
    *("-chardev null,id=c,reconnect=x", "-chardev hub,id=c"),
    *(
        "-chardev braille,id=c,x=1",
        "-overcommit mem-lock=x",
        "-fsdev local,id=f,max_xattr=x",
        "-smp cpus=x",
    ),
    *("-run-with exit-with-parent=x", "-smp books=1", "-smp x=1", "-smp cpus=x"),
)

NETWORKS: Final = (
    *("-nic help", "-net help", "-netdev user", "-netdev id=a", "-netdev user,id=a,x=1"),
    *("-netdev nosuch,id=a", "-netdev user,id=a,restrict=x", "-netdev user,id=1a"),
    *("-netdev nic,id=a", "-netdev netmap,id=a,ifname=x", "-netdev none,id=a"),
    *("-netdev hubport,id=a,hubid=x", "-netdev hubport,id=a,hubid=1", "-netdev stream,id=a"),
    *("-netdev l2tpv3,id=a,src=x", "-netdev tap,id=a,queues=x", "-netdev passt,id=a,x=1"),
    *("-netdev type=user,id=a,id=b", "-netdev user,id=a -netdev user,id=a", "-net passt,x=1"),
    *("-netdev user,id=a,dnssearch=a,dnssearch=b", "-netdev user,id=a,ipv4=off,ipv6=off"),
    *('-netdev {"type":"user","id":"a"}', '-netdev {"type":"hubport","id":"a","hubid":1}'),
    *('-netdev {"type":"user","id":"a","restrict":1}', "-netdev vhost-user,id=a,queues=2"),
    *("-nic user", "-nic user,mac=x", "-nic user,model=e1000", "-nic hubport,hubid=1", "-nic x"),
    *("-net nic", "-net hubport,hubid=1", "-net stream", "-net user,x=1", "-net netmap,ifname=x"),
)
DISPLAYS: Final = (
    *("-display gtk,show-tabs=x", "-display gtk,scale=x", "-display gtk,keep-aspect-ratio=x"),
    *("-display sdl,grab-mod=x", "-display sdl,alt_grab=x", "-display sdl,", "-display cocoa,x=1"),
    *("-vnc x", "-vnc :x", "-vnc x:", "-vnc :99999", "-vnc ,", "-tpmdev help", "-vnc none"),
    *("-display none,gl=on", "-display dbus,x=1", "-display curses,x=1", "-display none,x=1"),
    *('-display {"type":"none"}', '-display {"type":"none","full-screen":1}', "-display x=1"),
)
COMPUTERS: Final = (
    *("-numa node,nodeid=x", "-numa node,cpus=x", "-numa node,cpus=0-1", "-numa node,cpus=3-1"),
    *("-numa node,nodeid=70000", "-numa node,mem=x", "-numa dist,src=x,dst=0,val=1"),
    *("-numa cpu,node-id=0,module-id=0", "-numa cpu,node-id=0,cluster-id=0", "-numa node,x=1,y=2"),
    *("-numa hmat-lb,initiator=0,target=0,hierarchy=x,data-type=x", "-numa hmat-cache,node-id=0"),
    *("-accel tcg,split-wx=on", "-accel tcg,one-insn-per-tb=x", "-accel kvm,notify-vmexit=x"),
    *("-accel kvm,dirty-ring-size=3", "-accel kvm,xen-gnttab-max-frames=99999", "-accel xenx"),
    *("-accel kvm,rapl=x", "-accel kvm,honor-guest-pat=x", "-accel kvm,kvm-shadow-mem=x"),
    *("-accel tcg -accel nosuch", "-accel nosuch -accel tcg", "-accel thread=single"),
    *("-machine none,accel=tcg -accel tcg", "-machine none,accel=a:tcg:b", "-accel a -accel b"),
    *("-enable-kvm -accel tcg", "-machine none,accel=a:b"),
)

_NAME: Final = re.compile(r"#net\d+")
_QUIT: Final = '{"execute": "qmp_capabilities"} {"execute": "quit"}'
_BEGIN: Final = re.compile(r"^(?:qemu-[^:\n]*|main\.py):", re.M)
_ANSWER: Final = re.compile(r'\{"(?:QMP|return|timestamp)".*\n')


def _ended(argv: list[str], folder: Path) -> tuple[int, str, str]:
    run = subprocess.run(argv, cwd=folder, input=_QUIT, capture_output=True, text=True, timeout=60)
    # what is said of modules of the display is no matter of options
    said = "".join(
        line
        for line in run.stderr.splitlines(keepends=True)
        if not any(word in line for word in ("type is NULL", "PROLOGUE", "module ui-ui-"))
    )
    # where the program runs, it is of no matter what it answers
    printed = _ANSWER.sub("", run.stdout)
    # names that are made up have a random part
    return run.returncode, printed, _NAME.sub("#net", _BEGIN.sub("qemu:", said))


CASES: Final = (*HELPS, *REFUSED, *NETWORKS, *DISPLAYS, *COMPUTERS)


@by_turns("words", {words: words for words in CASES})
def test_emulator(version: str, words: str, tmp_path: Path) -> None:
    line = f"qemu-system-x86_64 -machine none -nodefaults -display none -qmp stdio {words}"
    real, ours = (_ended(argv, tmp_path) for argv in both_argv(version, line.split()))
    assert ours == real


@pytest.mark.parametrize("version", MEASURED)
@pytest.mark.parametrize("words", DAEMONS)
def test_storage_daemon(version: str, words: str, tmp_path: Path) -> None:
    line = ["qemu-storage-daemon", *words.split()]
    real, ours = (_ended(argv, tmp_path) for argv in both_argv(version, line))
    assert ours == real


def test_groups_of_the_default_version() -> None:
    """The table in the code says what the real program says of itself."""
    recorded = option_groups(load(DEFAULT))
    for group in vars(groups).values():
        if isinstance(group, OptionGroup) and group.kinds is not None:
            assert group == recorded[group.name]


def test_drivers_of_sound_were_not_listed(tmp_path: Path) -> None:
    line = "qemu-system-x86_64 -machine none -display none -audiodev help"
    real, ours = (_ended(argv, tmp_path) for argv in both_argv("5.2", line.split()))
    assert ours == real
