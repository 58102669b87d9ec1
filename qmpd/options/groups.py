"""The parameters of QEMU 10.0.2's options, group by group (``QemuOptsList``)."""

from __future__ import annotations

from typing import Final

from qmpd.options.qemu_opts import Kind, OptionGroup


def group(name: str, implied: str | None, parameters: str, *, merge: bool = False) -> OptionGroup:
    """Make a group from ``name name:b name:n name:s``: string, bool, number and size parameters.

    :param implied: the parameter that a value without a name is of
    :param merge: see `OptionGroup`
    """
    letters = {"": Kind.STRING, "b": Kind.BOOL, "n": Kind.NUMBER, "s": Kind.SIZE}
    kinds = {}
    for word in parameters.split():
        key, _, letter = word.partition(":")
        kinds[key] = letters[letter]
    return OptionGroup(name, implied, kinds, merge)


CHARDEV: Final = group(
    "chardev",
    "backend",
    "backend path input-path host port fd localaddr localport to:n ipv4:b ipv6:b wait:b server:b"
    " delay:b nodelay:b reconnect:n reconnect-ms:n telnet:b tn3270:b tls-creds tls-authz"
    " websocket:b width:n height:n cols:n rows:n mux:b signal:b name debug:n size:s chardev"
    " chardevs.0 chardevs.1 chardevs.2 chardevs.3 append:b logfile logappend:b mouse:b"
    " clipboard:b tight:b abstract:b",
)
MON: Final = group("mon", "chardev", "mode chardev pretty:b")
NAME: Final = group("name", "guest", "guest process debug-threads:b", merge=True)
MSG: Final = group("msg", None, "timestamp:b guest-name:b")
MEMORY: Final = group("memory", "size", "size:s slots:n maxmem:s", merge=True)
RTC: Final = group("rtc", None, "base clock driftfix", merge=True)
ACTION: Final = group("action", None, "shutdown reboot panic watchdog", merge=True)
OVERCOMMIT: Final = group("overcommit", None, "mem-lock cpu-pm:b")
SANDBOX: Final = group(
    "sandbox", "enable", "enable:b obsolete elevateprivileges spawn resourcecontrol"
)
RUN_WITH: Final = group("run-with", None, "async-teardown:b chroot user")
GLOBAL: Final = group("global", None, "driver property value")
FW_CFG: Final = group("fw_cfg", "name", "name file string gen_id")
TRACE: Final = group("trace", "enable", "enable events file")
ISCSI: Final = group(
    "iscsi", None, "user password password-secret header-digest initiator-name timeout:n"
)
BOOT: Final = group(
    "boot-opts",
    "order",
    "order once menu:b splash splash-time:n reboot-timeout:n strict:b",
    merge=True,
)
SMP: Final = group(
    "smp-opts",
    "cpus",
    "cpus:n drawers:n books:n sockets:n dies:n clusters:n modules:n cores:n threads:n maxcpus:n",
    merge=True,
)
ADD_FD: Final = group("add-fd", None, "fd:n set:n opaque")
DRIVE: Final = OptionGroup("drive", None, None)
DEVICE: Final = OptionGroup("device", "driver", None)
OBJECT: Final = OptionGroup("object", "qom-type", None)
