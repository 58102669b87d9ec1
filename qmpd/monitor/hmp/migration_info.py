"""HMP's info about migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.monitor.hmp.command_table import Arguments, HmpCommand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qmpd.machine.machine import Machine

_GLOBALS: Final = """\
globals:
store-global-state: on
only-migratable: {}
send-configuration: on
send-section-footer: on
send-switchover-start: on
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
    return {**shown, "x-rdma-chunk-size": "{} bytes", "cpr-exec-command": ""}


async def info_migrate(machine: Machine, _: Arguments) -> str:
    """How the migration stands (``hmp_info_migrate``)."""
    info = machine.migration.info()
    text = _GLOBALS.format("on" if machine.only_migratable else "off")
    if "blocked-reasons" in info:
        text += "Outgoing migration blocked:\n"
        text += "".join(f"  {reason}\n" for reason in info["blocked-reasons"])
    if "status" in info:
        text += _status(info)
    if "ram" in info:
        ram = info["ram"] | {name: info["ram"][name] >> 10 for name in _KIBIBYTES}
        text += _RAM.format_map(ram)
    if "socket-address" in info:
        uris = "".join(f"\t{_uri(address)}\n" for address in info["socket-address"])
        text += f"socket address: [\n{uris}]\n"
    return text


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
    HmpCommand("migrate", info_migrate, summary="show migration status"),
    HmpCommand(
        "migrate_capabilities", info_migrate_capabilities, summary="show migration capabilities"
    ),
    HmpCommand("migrate_parameters", info_migrate_parameters, summary="show migration parameters"),
)
"""The subcommands."""
