"""Random command lines of both programs, valid and broken, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final

_BLOCKDEV: Final = (
    *("null-co,node-name=n", "null-co", "node-name=n", "nosuch,node-name=n", "null-co,node-name=9"),
    *("null-co,node-name=n,size=x", "null-co,node-name=n,x=1", "{"),
    *("raw,node-name=r,file=nope", "file,node-name=f,filename=nope", "file,node-name=f", "", ",,"),
    *('{"driver": "null-co", "node-name": "j"}', '{"driver": "null-co"}', "{}", "[]", "help", "="),
    *("null-co,node-name=n,read-only=x", "qcow2,node-name=q,file.driver=null-co", "raw,file.x=1"),
    *("null-co,node-name=n,size=1M", "null-co,node-name=n,cache.direct=maybe", "null-co,read-only"),
    *("null-co,node-name=n,latency-ns=-1", "quorum,node-name=n,vote-threshold=0,children.0=n"),
)
_OBJECT: Final = (
    *(
        "iothread,id=t",
        "iothread",
        "nosuch,id=x",
        "container,id=x",
        "iothread,id=9",
        "iothread,id=t,x=1",
        "id=t",
        "",
    ),
    *("throttle-group,id=g", "throttle-group,id=g,limits.iops-total=x", "secret,id=s", "{", "{}"),
    *("throttle-group,id=g,x-iops-total=1", "throttle-group,id=g,limits.iops-total=1", "=", "[1]"),
    *("iothread,id=t,poll-max-ns=-1", "iothread,id=t,poll-max-ns=zz", "qom-type=iothread,id=u"),
    *('{"qom-type": "iothread", "id": "j"}', "secret,id=s,data=x", "secret,id=s,data=x,format=y"),
    *("iothread,,id=t", "iothread,id=", "secret,id=s,file=nope", "iothread,id=a,id=b"),
)
_CHARDEV: Final = (
    *("null,id=c", "null", "nosuch,id=c", "ringbuf,id=c,size=3", "ringbuf,id=c,size=x", "id=c", ""),
    *("socket,id=c", "socket,id=c,path=p,host=h", "socket,id=c,host=h", "null,id=9", "file,id=c"),
    *(
        "pipe,id=c,path=nope",
        "file,id=c,path=nope/x",
        "socket,id=c,path=nope",
        "null,id=c,x=1",
        "=",
    ),
    *("socket,id=c,path=s,server=x", "ringbuf,id=c,size=64", "null,id=c,mux=x", "serial,id=c"),
    *("socket,id=c,path=s,server=on,wait=off", "udp,id=c", "backend=null,id=d"),
    *("socket,id=c,fd=x", "socket,id=c,path=s,telnet=on", "socket,id=c,host=h,port=x,ipv4=maybe"),
)
_PIDFILE: Final = ("pid", "nope/pid", "")

SYSTEM: Final[Mapping[str, tuple[str, ...]]] = {
    "blockdev": _BLOCKDEV,
    "object": _OBJECT,
    "chardev": _CHARDEV,
    "pidfile": _PIDFILE,
    "drive": (
        *(
            "if=none,id=d,driver=null-co",
            "if=none",
            "if=x",
            "if=none,file=nope",
            "if=none,id=9",
            "",
        ),
        *("if=none,driver=null-co,read-only=x", "if=none,driver=null-co,bps=-1", "x", ",,", "="),
        *("if=none,driver=null-co,bps=1,bps_rd=1", "if=none,driver=null-co,cache=x", "if=none,x=1"),
        *("if=none,driver=null-co,werror=x", "if=none,driver=nosuch", "if=none,format=nosuch"),
        *(
            "if=none,driver=null-co,index=1,unit=1",
            "if=none,media=x",
            "if=none,driver=null-co,aio=x",
        ),
        *(
            "if=none,driver=null-co,discard=x",
            "if=scsi",
            "if=virtio",
        ),
        *(
            "if=none,driver=null-co,copy-on-read=on,read-only=on",
            "if=none,driver=null-co,rerror=stop",
        ),
        *(
            "if=none,driver=null-co,detect-zeroes=unmap",
            "if=none,driver=null-co,iops=x",
            "if=none,id=",
        ),
        *(
            "if=none,driver=null-co,snapshot=maybe",
            "if=none,driver=null-co,bus=x",
            "if=none,read-only",
        ),
    ),
    "mon": (
        "chardev=nope",
        "nope",
        "mode=x,chardev=nope",
        "",
        "mode=control",
        "chardev=c,x=1",
        "=",
    ),
    "netdev": ("nosuch,id=n", "user", "{", "", "id=n", "hubport,id=9", "="),
    "name": ("x", "x,y", "guest=x", "x,process=y", "x,debug-threads=maybe", "", "=", "x,y=1"),
    "uuid": ("x", "", "00000000-0000-0000-0000-000000000001", "0-0"),
    "rtc": ("base=utc", "base=x", "clock=x", "x", "base=2020-13-01", "driftfix=x", "x=1", ""),
    "boot": ("c", "x", "order=c", "order=cc", "menu=x", "splash-time=x", "strict=maybe", "x=1", ""),
    "D": ("nope/x", "log"),
    "acpitable": ("x", "sig=x", "file=nope", ""),
    "fsdev": (
        *("x", "nosuch,id=f", "local,id=f", "local,id=f,security_model=none", "synth,id=f", "id=f"),
        *("local,id=9", "local,id=f,security_model=x", "synth,id=f,x=1", ""),
    ),
    "virtfs": ("x", "local"),
}
"""The emulator's options, and values for them."""

STORAGE_DAEMON: Final[Mapping[str, tuple[str, ...]]] = {
    "blockdev": _BLOCKDEV,
    "object": _OBJECT,
    "chardev": _CHARDEV,
    "pidfile": _PIDFILE,
    "export": (
        *(
            "nbd,id=e,node-name=n",
            "type=nbd",
            "nosuch,id=e",
            "nbd,id=9,node-name=n",
            "{",
            "",
            "x=1",
        ),
        *("nbd,id=e,node-name=n,writable=x", "vhost-user-blk,id=e,node-name=n", "id=e", "=", "[]"),
    ),
    "monitor": (
        "nope",
        "chardev=nope",
        "mode=x,chardev=nope",
        "",
        "x=1",
        "chardev=c,pretty=maybe",
        "=",
    ),
    "nbd-server": (
        *("addr.type=unix,addr.path=s", "addr.type=x", "", "x=1", "addr.type=unix", "{", "=", "x"),
        *("addr.type=inet,addr.host=127.0.0.1,addr.port=x", "addr.type=fd,addr.str=nope"),
        *("addr.type=unix,addr.path=nope/s", "addr.type=unix,addr.path=s,max-connections=x"),
    ),
    "trace": ("x", "enable=x", "events=nope", "x=1", ""),
}
"""The same of the storage daemon."""


def words(random: Random, options: Mapping[str, tuple[str, ...]]) -> list[str]:
    """An option with a value; rarely one that is not there, or without a value."""
    name = random.choice(sorted(options))
    line = [f"{random.choice(('-', '--'))}{name}", random.choice(options[name])]
    if random.random() < 0.05:
        line[0] += "x"
    if random.random() < 0.03:
        del line[1]
    return line
