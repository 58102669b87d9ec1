"""Commands of schema module machine: the emulated computer around the block layer."""

from __future__ import annotations

from typing import Final

from qmpd.errors import GenericError, NotServed
from qmpd.machine import power
from qmpd.monitor.qmp.handlers import Context, Handlers


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
    thread = context.machine.services.thread_id
    return [
        {
            "cpu-index": index,
            "qom-path": f"/machine/unattached/device[{index}]",
            "thread-id": thread,
            "target": "x86_64",
        }
        for index in range(context.machine.cpus)
    ]


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
    "system_reset": system_reset,
    "system_powerdown": system_powerdown,
    "set-numa-node": set_numa_node,
}
