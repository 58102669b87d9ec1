"""HMP's info about migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter
from qmpd.monitor.hmp.quantities import human_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.machine.machine import Machine

_GLOBALS: Final = """\
globals:
store-global-state: on
only-migratable: {}
send-configuration: on
send-section-footer: on
{}: on
clear-bitmap-shift: 18
"""

_RAM: Final = """\
transferred ram: {transferred} kbytes
throughput: {mbps:.2f} mbps
remaining ram: {remaining} kbytes
total ram: {total} kbytes
duplicate: {duplicate} pages
normal: {normal} pages
normal bytes: {normal-bytes} kbytes
dirty sync count: {dirty-sync-count}
page size: {page-size} kbytes
multifd bytes: {multifd-bytes} kbytes
pages-per-second: {pages-per-second}
"""
_BRIEF_RAM: Final = """\
RAM info:
  Throughput (Mbps): \t{mbps:.2f}
  Sizes: \t\tpagesize={page-size}, total={total}
  Transfers: \t\ttransferred={transferred}, remain={remaining}
    Channels: \t\tprecopy={precopy-bytes}, multifd={multifd-bytes}, postcopy={postcopy-bytes}
    Page Types: \tnormal={normal}, zero={duplicate}
  Page Rates (pps): \ttransfer={pages-per-second}
"""
_SIZES: Final = (
    *("page-size", "total", "transferred", "remaining"),
    *("precopy-bytes", "multifd-bytes", "postcopy-bytes"),
)
_KIBIBYTES: Final = (
    "transferred",
    "remaining",
    "total",
    "normal-bytes",
    "page-size",
    "multifd-bytes",
)

_SHOWN: Final = {
    "announce-initial": "{} ms",
    "announce-max": "{} ms",
    "announce-rounds": "{}",
    "announce-step": "{} ms",
    "compress-level": "{}",
    "compress-threads": "{}",
    "compress-wait-thread": "{}",
    "decompress-threads": "{}",
    "throttle-trigger-threshold": "{}",
    "cpu-throttle-initial": "{}",
    "cpu-throttle-increment": "{}",
    "cpu-throttle-tailslow": "{}",
    "max-cpu-throttle": "{}",
    "tls-creds": "'{}'",
    "tls-hostname": "'{}'",
    "max-bandwidth": "{} bytes/second",
    "avail-switchover-bandwidth": "{} bytes/second",
    "downtime-limit": "{} ms",
    "x-checkpoint-delay": "{} ms",
    "block-incremental": "{}",
    "multifd-channels": "{}",
    "multifd-compression": "{}",
    "zero-page-detection": "{}",
    "xbzrle-cache-size": "{} bytes",
    "max-postcopy-bandwidth": "{}",
    "tls-authz": "'{}'",
    "block-bitmap-mapping": "",
    "x-vcpu-dirty-limit-period": "{} ms",
    "vcpu-dirty-limit": "{} MB/s",
    "mode": "{}",
    "direct-io": "{}",
}
"""How parameters are shown, in the order of ``hmp_info_migrate_parameters``."""


def _grouped() -> dict[str, str]:
    """The same with what belongs together side by side, and parameters that came later."""
    shown = {}
    for name, form in _SHOWN.items():
        shown[name] = form
        if name == "tls-hostname":
            shown["tls-authz"] = _SHOWN["tls-authz"]
        if name == "avail-switchover-bandwidth":
            shown["max-postcopy-bandwidth"] = "{} bytes/second"
    shown["max-postcopy-bandwidth"] = "{} bytes/second"
    return {**shown, "x-rdma-chunk-size": "{} bytes", "cpr-exec-command": "{}"}


async def info_migrate(machine: Machine, arguments: Arguments) -> str:
    """How the migration stands (``hmp_info_migrate``)."""
    info = machine.migration.info()
    if machine.profile.rules.holds("migrations-in-groups"):
        text = _blocked(info) + _brief_status(info) + _brief_ram(info) + _addresses(info)
        return text + (_indented(_globals(machine)) if "all" in arguments else "")
    text = _globals(machine) + _blocked(info)
    if "status" in info:
        text += _status(info)
    if "ram" in info:
        ram = info["ram"] | {name: info["ram"][name] >> 10 for name in _KIBIBYTES}
        text += _ram(machine, ram)
    return text + _addresses(info)


def _ram(machine: Machine, ram: Mapping[str, Any]) -> str:
    text = _RAM.format_map(ram)
    told = {member.name for member in machine.profile.types.object("MigrationStats").members}
    if "skipped" in told:
        text = text.replace("\nnormal: ", "\nskipped: 0 pages\nnormal: ")
    if "downtime-bytes" in told and ram["downtime-bytes"]:
        text += f"downtime ram: {ram['downtime-bytes'] >> 10} kbytes\n"
    return text


def _globals(machine: Machine) -> str:
    former = machine.profile.rules.holds("errors-of-decompression")
    return _GLOBALS.format(
        "on" if machine.only_migratable else "off",
        "decompress-error-check" if former else "send-switchover-start",
    )


def _indented(text: str) -> str:
    head, *lines = text.splitlines()
    return "".join([f"{head.capitalize()}\n", *(f"  {line}\n" for line in lines)])


def _blocked(info: Mapping[str, Any]) -> str:
    if "blocked-reasons" not in info:
        return ""
    reasons = "".join(f"  {reason}\n" for reason in info["blocked-reasons"])
    return f"Outgoing migration blocked:\n{reasons}"


def _addresses(info: Mapping[str, Any]) -> str:
    if "socket-address" not in info:
        return ""
    uris = "".join(f"\t{_uri(address)}\n" for address in info["socket-address"])
    return f"socket address: [\n{uris}]\n"


def _brief_status(info: Mapping[str, Any]) -> str:
    """The state and the times, each in a line."""
    if "status" not in info:
        return ""
    why = f" ({info['error-desc']})" if "error-desc" in info else ""
    text = f"Status: \t\t{info['status']}{why if info['status'] == 'failed' else ''}\n"
    if not info.get("total-time"):
        return text
    times = (("setup-time", "setup"), ("expected-downtime", "exp_down"), ("downtime", "down"))
    told = "".join(f", {shown}={info[name]}" for name, shown in times if name in info)
    return f"{text}Time (ms): \t\ttotal={info['total-time']}{told}\n"


def _brief_ram(info: Mapping[str, Any]) -> str:
    """What has been sent, in groups."""
    if "ram" not in info:
        return ""
    ram = info["ram"]
    shown = _BRIEF_RAM.format_map({**ram, **{name: human_size(ram[name]) for name in _SIZES}})
    told = (("dirty-sync-count", "dirty_syncs"), ("downtime-bytes", "downtime_bytes"))
    others = ", ".join(f"{shown}={ram[name]}" for name, shown in told if ram[name])
    return f"{shown}  Others: \t\t{others}\n"


def _status(info: Mapping[str, Any]) -> str:
    status = info["status"]
    why = f" ({info['error-desc']})" if status == "failed" and "error-desc" in info else ""
    text = f"Migration status: {status}{why}\ntotal time: {info.get('total-time', 0)} ms\n"
    for name, shown in (
        ("expected-downtime", "expected downtime"),
        ("downtime", "downtime"),
        ("setup-time", "setup"),
    ):
        if name in info:
            text += f"{shown}: {info[name]} ms\n"
    return text


def _uri(address: Mapping[str, Any]) -> str:
    """``socket_uri``."""
    if address["type"] == "unix":
        return f"unix:{address['path']}"
    return f"tcp:{address['host']}:{address['port']}"


async def info_migrate_capabilities(machine: Machine, _: Arguments) -> str:
    """What a migration may do."""
    return "".join(
        f"{status['capability']}: {'on' if status['state'] else 'off'}\n"
        for status in machine.migration.capabilities.statuses()
    )


async def info_migrate_parameters(machine: Machine, _: Arguments) -> str:
    """What a migration goes by."""
    values = machine.migration.parameters.info()
    text = ""
    in_groups = machine.profile.rules.holds("parameters-in-groups")
    for name, shown in (_grouped() if in_groups else _SHOWN).items():
        if name == "block-bitmap-mapping":
            text += _mapping(values.get(name))
            continue
        if name not in values:
            continue
        value = values[name]
        if isinstance(value, bool):
            value = "on" if value else "off"
        elif isinstance(value, list):
            value = " ".join(value)
        text += f"{name}: {shown.format(value)}".rstrip(" ") + "\n"
    return text


def _mapping(nodes: list[Mapping[str, Any]] | None) -> str:
    if nodes is None:
        return ""
    text = "block-bitmap-mapping:\n"
    for node in nodes:
        text += f"  '{node['node-name']}' -> '{node['alias']}'\n"
        for bitmap in node["bitmaps"]:
            text += f"    '{bitmap['name']}' -> '{bitmap['alias']}'\n"
    return text


MIGRATION_INFO: Final = (
    HmpCommand(
        "migrate",
        info_migrate,
        (Parameter("all", Kind.FLAG, flag="a", rule="migrations-in-groups"),),
        "[-a]",
        "show migration status",
    ),
    HmpCommand(
        "migrate_capabilities", info_migrate_capabilities, summary="show migration capabilities"
    ),
    HmpCommand("migrate_parameters", info_migrate_parameters, summary="show migration parameters"),
)
"""The subcommands."""
