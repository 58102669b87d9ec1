"""HMP's info about what is around a guest: the values of query commands, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import GenericError
from qmpd.monitor.hmp.command_table import Arguments, HmpCommand
from qmpd.monitor.hmp.line import Kind, Parameter

if TYPE_CHECKING:
    from qmpd.machine.machine import Machine

Info = dict[str, Any]


def _balloon(value: Info) -> str:
    return f"balloon: actual={value['actual'] >> 20}\n"


def _mice(value: list[Info]) -> str:
    if not value:
        return "No mouse devices connected\n"
    return "".join(
        f"{'*' if mouse['current'] else ' '} Mouse #{mouse['index']}: {mouse['name']}"
        f"{' (absolute)' if mouse['absolute'] else ''}\n"
        for mouse in value
    )


def _memory(value: Info) -> str:
    return f"base memory: {value['base-memory']}\nplugged memory: {value['plugged-memory']}\n"


def _memory_backends(value: list[Info]) -> str:
    return "".join(map(_memory_backend, value)) + "\n"


def _memory_backend(backend: Info) -> str:
    text = f"memory backend: {backend['id']}\n  size:  {backend['size']}\n"
    for name in ("merge", "dump", "prealloc", "share", "reserve"):
        if name in backend:
            text += f"  {name}: {'true' if backend[name] else 'false'}\n"
    return f"{text}  policy: {backend['policy']}\n  host nodes: {_ranges(backend['host-nodes'])}\n"


def _ranges(numbers: list[int]) -> str:
    """Numbers as ranges, as QEMU's visitor of strings writes them."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


def _iothreads(value: list[Info]) -> str:
    shown = (
        *("thread-id", "poll-max-ns", "poll-grow", "poll-shrink", "poll-weight"),
        "aio-max-batch",
    )
    return "".join(
        f"{thread['id']}:\n"
        + "".join(
            f"  {name.replace('thread-id', 'thread_id')}={thread[name]}\n"
            for name in shown
            if name in thread
        )
        for thread in value
    )


def _places_for_cpus(value: list[Info]) -> str:
    return "Hotpluggable CPUs:\n" + "".join(map(_place_for_cpu, value))


_PLACE: Final = (
    "node-id drawer-id book-id socket-id die-id cluster-id module-id core-id thread-id".split(" ")
)
"""The parts of a processor's place, in the order in which they are shown."""


def _place_for_cpu(place: Info) -> str:
    text = f'  type: "{place["type"]}"\n  vcpus_count: "{place["vcpus-count"]}"\n'
    if "qom-path" in place:
        text += f'  qom_path: "{place["qom-path"]}"\n'
    props = place["props"]
    return f"{text}  CPUInstance Properties:\n" + "".join(
        f'    {name}: "{props[name]}"\n' for name in _PLACE if name in props
    )


def _kvm(value: Info) -> str:
    if not value["present"]:
        return "kvm support: not compiled\n"
    return f"kvm support: {'enabled' if value['enabled'] else 'disabled'}\n"


def _vnc(value: list[Info]) -> str:
    assert not value
    return "None\n"


def _spice(value: Info) -> str:
    assert not value["enabled"]
    return "Server: disabled\n"


def _nothing(value: list[Info]) -> str:
    assert not value
    return ""


def _dump(value: Info) -> str:
    return f"Status: {value['status']}\n"


def _replay(value: Info) -> str:
    assert value["mode"] == "none"
    return "Record/replay is not active\n"


def _dirty_rate(value: Info) -> str:
    text = f"Status: {value['status']}\nStart Time: {value['start-time']} (ms)\n"
    if value["mode"] == "page-sampling":
        text += f"Sample Pages: {value['sample-pages']} (per GB)\n"
    text += f"Period: {value['calc-time']} (sec)\nMode: {value['mode']}\n"
    rate = f"{value['dirty-rate']} (MB/s)" if "dirty-rate" in value else "(not ready)"
    return f"{text}Dirty rate: {rate}\n"


def _dirty_limit(value: list[Info]) -> str:
    assert not value
    return "Dirty page limit not enabled!\n"


def _asks(name: str, command: str, show: Callable[[Any], str], summary: str) -> HmpCommand:
    return HmpCommand(name, None, (), "", summary, lambda *_: (command, {}), show)


async def info_cpus(machine: Machine, _: Arguments) -> str:
    """The processors; a star is before the one that the monitor looks at."""
    model = ""
    if machine.profile.rules.holds("processors-tell-their-type"):
        model = f" model={machine.devices.processors.model}"
    chosen = machine.guest_side.hmp_cpu
    return "".join(
        f"{'*' if index == chosen else ' '} CPU #{index}: thread_id={thread}{model}\n"
        for index, thread in machine.guest_side.cpu_threads()
    )


async def info_trace_events(machine: Machine, arguments: Arguments) -> str:
    """Trace events, and whether they are switched on (``hmp_info_trace_events``)."""
    try:
        found = machine.guest_side.trace_events.query(arguments.get("name", "*"))
    except GenericError as error:
        return f"{error.desc}\n"
    return "".join(f"{each['name']} : state {int(each['state'] == 'enabled')}\n" for each in found)


GUEST_INFO: Final = (
    HmpCommand("cpus", info_cpus, summary="show the processors"),
    HmpCommand(
        "trace-events",
        info_trace_events,
        (
            Parameter("name", Kind.STRING, optional=True),
            Parameter("vcpu", Kind.INTEGER32, optional=True),
        ),
        "[name]",
        "show trace events, and whether they are switched on",
    ),
    _asks("balloon", "query-balloon", _balloon, "show how much memory the guest has"),
    _asks("dirty_rate", "query-dirty-rate", _dirty_rate, "show how much the guest writes"),
    _asks("dump", "query-dump", _dump, "show how far a dump is"),
    _asks(
        "hotpluggable-cpus",
        "query-hotpluggable-cpus",
        _places_for_cpus,
        "show the places for processors",
    ),
    _asks("iothreads", "query-iothreads", _iothreads, "show the iothreads"),
    _asks("kvm", "query-kvm", _kvm, "show whether KVM is used"),
    _asks("memdev", "query-memdev", _memory_backends, "show the memory backends"),
    _asks("memory-devices", "query-memory-devices", _nothing, "show memory devices"),
    _asks(
        "memory_size_summary",
        "query-memory-size-summary",
        _memory,
        "show how much memory there is",
    ),
    _asks("mice", "query-mice", _mice, "show the mice"),
    _asks("replay", "query-replay", _replay, "show how far a recording is"),
    _asks("spice", "query-spice", _spice, "show the SPICE server"),
    _asks("tpm", "query-tpm", _nothing, "show the TPM devices"),
    _asks("vm-generation-id", "query-vm-generation-id", _nothing, "show the VM generation ID"),
    _asks("vcpu_dirty_limit", "query-vcpu-dirty-limit", _dirty_limit, "show dirty page limits"),
    _asks("vnc", "query-vnc-servers", _vnc, "show the VNC servers"),
)
"""The subcommands."""
