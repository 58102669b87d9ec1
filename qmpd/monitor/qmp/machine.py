"""Commands of schema module machine: the emulated computer around the block layer."""

from __future__ import annotations

from qmpd.errors import GenericError, NotServed
from qmpd.monitor.qmp.handlers import CommandTable, Context

MACHINE = CommandTable()


@MACHINE.command("query-uuid")
def query_uuid(context: Context, _: None) -> dict[str, object]:
    """UUID of the guest."""
    return {"UUID": context.machine.uuid}


@MACHINE.command("query-kvm")
def query_kvm(context: Context, _: None) -> dict[str, object]:
    """There is no guest CPU, hence no KVM: built in, not enabled."""
    return {"enabled": False, "present": True}


@MACHINE.command("query-target")
def query_target(context: Context, _: None) -> dict[str, object]:
    """Architecture that is passed for."""
    return {"arch": "x86_64"}


@MACHINE.command("query-cpus-fast")
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


@MACHINE.command("system_reset")
def system_reset(context: Context, _: None) -> None:
    """Reset the guest."""
    context.machine.reset("host-qmp-system-reset")


@MACHINE.command("system_powerdown")
def system_powerdown(context: Context, _: None) -> None:
    """Press the power button; there is no guest to react."""
    context.machine.events.emit("POWERDOWN")


@MACHINE.command("set-numa-node")
def set_numa_node(context: Context, _: object) -> None:
    """Describe a NUMA node, which only ``--preconfig`` allows and qmpd has no use for."""
    if not context.machine.in_preconfig:
        raise GenericError("The command is permitted only before the machine has been created")
    raise NotServed("NUMA nodes are not served by qmpd")
