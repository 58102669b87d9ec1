"""Commands of schema module machine: the emulated computer around the block layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qmpd.errors import DeviceNotActive, GenericError, NotServed
from qmpd.machine import power
from qmpd.monitor.qmp.handlers import Context, Handlers

if TYPE_CHECKING:
    from qmpd.profile.models.machine import BalloonArguments, QueryMachinesArguments


def query_uuid(context: Context, _: None) -> dict[str, object]:
    """UUID of the guest."""
    return {"UUID": context.machine.uuid}


def query_kvm(context: Context, _: None) -> dict[str, object]:
    """There is no guest CPU, hence no KVM: built in, not enabled."""
    return {"enabled": False, "present": True}


def query_target(context: Context, _: None) -> dict[str, object]:
    """Architecture that is passed for."""
    return {"arch": "x86_64"}


def query_cpus_fast(context: Context, _: None) -> list[dict[str, object]]:
    """The CPUs that the machine passes for having; they do nothing."""
    processors = context.machine.devices.processors
    paths = {number: path for path, number in processors.numbers.items()}
    tells_type = context.machine.profile.rules.holds("processors-tell-their-type")
    kind = {"qom-type": processors.type_name} if tells_type else {}
    return [
        {
            "cpu-index": index,
            **kind,
            "qom-path": paths[index],
            "thread-id": thread,
            "props": processors.place(index),
            "target": "x86_64",
        }
        for index, thread in context.machine.guest_side.cpu_threads()
    ]


def query_hotpluggable_cpus(context: Context, _: None) -> list[dict[str, object]]:
    """The places for CPUs, the last one first; none is plugged in later."""
    board = context.machine.devices.board
    if board.type == "none" or board.model == "microvm":
        raise GenericError("machine does not support hot-plugging CPUs")
    processors = context.machine.devices.processors
    paths = {number: path for path, number in processors.numbers.items()}
    places: list[dict[str, object]] = []
    for number in reversed(range(processors.topology.places)):
        place: dict[str, object] = {"type": processors.type_name, "vcpus-count": 1}
        place["props"] = processors.place(number)
        if number in paths:
            place["qom-path"] = paths[number]
        places.append(place)
    return places


def query_machines(
    context: Context, arguments: QueryMachinesArguments | None
) -> list[dict[str, Any]]:
    """All machine types, as recorded; until 9.0 there is nothing to ask for in addition."""
    known = context.machine.profile.recorded(context.machine.personality).machines
    if arguments is not None and arguments.compat_props:
        return known
    return [
        {name: value for name, value in machine.items() if name != "compat-props"}
        for machine in known
    ]


def query_current_machine(context: Context, _: None) -> dict[str, object]:
    """Whether a sleeping guest could be woken up."""
    return {"wakeup-suspend-support": context.machine.devices.board.sleeps}


def query_memory_size_summary(context: Context, _: None) -> dict[str, object]:
    """The memory that the machine passes for having."""
    return {"base-memory": context.machine.devices.board.memory, "plugged-memory": 0}


def query_memory_devices(context: Context, _: None) -> list[object]:
    """No memory is plugged in."""
    return []


def query_memdev(context: Context, _: None) -> list[dict[str, object]]:
    """All memory backends, the last one of QOM's table first."""
    from qmpd.machine.backends import MemoryBackend

    found = [each.info() for each in context.machine.objects.of_type(MemoryBackend)]
    return found[::-1]


def query_balloon(context: Context, _: None) -> dict[str, object]:
    """How much memory the balloon leaves to the guest: all, for it does nothing."""
    _find_balloon(context)
    return {"actual": context.machine.devices.board.memory}


def balloon(context: Context, arguments: BalloonArguments) -> None:
    """Ask the guest for memory; it does nothing."""
    _find_balloon(context)
    if arguments.value <= 0:
        raise GenericError("Parameter 'value' expects a size")


def _find_balloon(context: Context) -> None:
    if all(device.model != "virtio-balloon-pci" for device in context.machine.devices):
        raise DeviceNotActive("No balloon device has been activated")


def query_hv_balloon_status_report(context: Context, _: None) -> None:
    """There is no such balloon."""
    raise GenericError("no hv-balloon device present")


def query_vm_generation_id(context: Context, _: None) -> None:
    """There is no such device."""
    raise GenericError("VM Generation ID device not found")


def system_wakeup(context: Context, _: None) -> None:
    """Wake the guest up: it never sleeps."""
    if not context.machine.devices.board.sleeps:
        raise GenericError("wake-up from suspend is not supported by this guest")
    raise GenericError("Unable to wake up: guest is not in suspended state")


def inject_nmi(context: Context, _: None) -> None:
    """Interrupt the guest, which does nothing about it."""
    if context.machine.devices.board.type == "none":
        raise GenericError("machine does not provide NMIs")


async def system_reset(context: Context, _: None) -> None:
    """Reset the guest."""
    await power.reset(context.machine, "host-qmp-system-reset")


def system_powerdown(context: Context, _: None) -> None:
    """Press the power button."""
    context.machine.power_down()


def set_numa_node(context: Context, _: object) -> None:
    """Describe a NUMA node, which only ``--preconfig`` allows and qmpd has no use for."""
    if not context.machine.in_preconfig:
        raise GenericError("The command is permitted only before the machine has been created")
    raise NotServed("NUMA nodes are not served by qmpd")


HANDLERS: Final[Handlers] = {
    "query-uuid": query_uuid,
    "query-kvm": query_kvm,
    "query-target": query_target,
    "query-cpus-fast": query_cpus_fast,
    "query-hotpluggable-cpus": query_hotpluggable_cpus,
    "query-machines": query_machines,
    "query-current-machine": query_current_machine,
    "query-memory-size-summary": query_memory_size_summary,
    "query-memory-devices": query_memory_devices,
    "query-memdev": query_memdev,
    "query-balloon": query_balloon,
    "balloon": balloon,
    "query-hv-balloon-status-report": query_hv_balloon_status_report,
    "query-vm-generation-id": query_vm_generation_id,
    "system_wakeup": system_wakeup,
    "inject-nmi": inject_nmi,
    "system_reset": system_reset,
    "system_powerdown": system_powerdown,
    "set-numa-node": set_numa_node,
}
