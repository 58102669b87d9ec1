"""From the parameters of ``-chardev`` to the ChardevBackend of QAPI that they mean."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from qmpd.base.sizes import as_int
from qmpd.errors import GenericError
from qmpd.options.qemu_opts import Opts

Data = dict[str, Any]


def parse_backend(opts: Opts) -> tuple[str, Data]:
    """The kind of backend and its `data` (``qemu_chr_parse_opts``).

    :param opts: whose parameter ``backend`` names one that there is
    :raises GenericError: with QEMU's text
    """
    kind = opts.get("backend") or ""
    data: Data = {}
    logfile = opts.get("logfile")
    if logfile is not None:
        data = {"logfile": logfile, "logappend": opts.flag("logappend")}
    parse = _PARSERS.get(kind)
    return kind, data if parse is None else parse(opts) | data


def _needed(opts: Opts, name: str, wrong: str) -> str:
    value = opts.get(name)
    if value is None:
        raise GenericError(wrong)
    return value


def _file(opts: Opts) -> Data:
    data: Data = {"out": _needed(opts, "path", "chardev: file: no filename given")}
    if opts.get("input-path") is not None:
        data["in"] = opts.get("input-path")
    return data | {"append": opts.flag("append")}


def _device(wrong: str) -> Callable[[Opts], Data]:
    return lambda opts: {"device": _needed(opts, "path", wrong)}


def _mux(opts: Opts) -> Data:
    return {"chardev": _needed(opts, "chardev", "chardev: mux: no chardev given")}


def _hub(opts: Opts) -> Data:
    names = [opts.get(f"chardevs.{number}") for number in range(4)]
    found = names[: names.index(None)] if None in names else names
    return {"chardevs": found}


def _stdio(opts: Opts) -> Data:
    return {"signal": opts.flag("signal", True)}


def _ringbuf(opts: Opts) -> Data:
    size = as_int(opts.size("size", 0))
    return {"size": size} if size else {}


def _pty(opts: Opts) -> Data:
    path = opts.get("path")
    return {} if path is None else {"path": path}


def _inet(opts: Opts, host: str, port: str) -> Data:
    data: Data = {"host": host, "port": port}
    if opts.get("to") is not None:
        data["to"] = opts.number("to")
    for name in ("ipv4", "ipv6"):
        if opts.get(name) is not None:
            data[name] = opts.flag(name)
    return {"type": "inet", "data": data}


def _udp(opts: Opts) -> Data:
    port = opts.get("port")
    if not port:
        raise GenericError("chardev: udp: remote port not specified")
    data: Data = {"remote": _inet(opts, opts.get("host") or "localhost", port)}
    local = opts.get("localaddr") or "", opts.get("localport") or ""
    if any(local):
        host, port = local[0], local[1] or "0"
        data["local"] = {"type": "inet", "data": {"host": host, "port": port}}
    return data


def _socket_address(opts: Opts) -> Data:
    path, host, fd = opts.get("path"), opts.get("host"), opts.get("fd")
    if [path, host, fd].count(None) < 2:
        raise GenericError("None or one of 'path', 'fd' or 'host' option required.")
    if host is not None and opts.get("port") is None:
        raise GenericError("chardev: socket: no port given")
    if path is not None:
        how = {"tight": opts.flag("tight", True), "abstract": opts.flag("abstract")}
        return {"type": "unix", "data": {"path": path, **how}}
    if host is not None:
        return _inet(opts, host, opts.get("port") or "")
    return {"type": "fd", "data": {"str": fd or ""}}


def _socket(opts: Opts) -> Data:
    address = _socket_address(opts)
    if opts.get("delay") is not None and opts.get("nodelay") is not None:
        raise GenericError("'delay' and 'nodelay' are mutually exclusive")
    server = opts.flag("server")
    data: Data = {
        "addr": address,
        "server": server,
        "nodelay": not opts.flag("delay", True) or opts.flag("nodelay"),
    }
    for name in ("telnet", "tn3270", "websocket"):
        if opts.get(name) is not None:
            data[name] = opts.flag(name)
    if server or opts.get("wait") is not None:
        data["wait"] = opts.flag("wait", True)
    for name in ("reconnect", "reconnect-ms"):
        if opts.get(name) is not None:
            data[name] = opts.number(name)
    for name in ("tls-creds", "tls-authz"):
        if opts.get(name) is not None:
            data[name] = opts.get(name)
    return data


_PARSERS: Final = MappingProxyType[str, Callable[[Opts], Data]](
    {
        "file": _file,
        "pipe": _device("chardev: pipe: no device path given"),
        "serial": _device("chardev: serial/tty: no device path given"),
        "parallel": _device("chardev: parallel: no device path given"),
        "mux": _mux,
        "hub": _hub,
        "stdio": _stdio,
        "ringbuf": _ringbuf,
        "memory": _ringbuf,
        "pty": _pty,
        "udp": _udp,
        "socket": _socket,
    }
)
"""What reads the parameters of each kind that has any; those of ``vc`` have no effect."""
