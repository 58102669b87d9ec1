"""Which iothread serves which queue of a virtio device, and so the disks behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.errors import GenericError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qmpd.block.model.aio_context import AioContext
    from qmpd.machine.devices.device import Device
    from qmpd.machine.objects import ObjectContainer


def first_queue_context(
    proxy: Device, device: Device, queues: int, objects: ObjectContainer
) -> AioContext:
    """The loop that serves the first queue of a virtio device, and its disks.

    :param proxy: the PCI device in front of it
    :param queues: how many queues requests come by
    :raises GenericError: the iothreads are not said as they must be
    """
    thread, mapping = device.values.get("iothread"), device.values.get("iothread-vq-mapping")
    if thread and mapping:
        raise GenericError(
            "iothread and iothread-vq-mapping properties cannot be set at the same time"
        )
    if (thread or mapping) and not proxy.get("ioeventfd"):
        raise GenericError("ioeventfd is required for iothread")
    if mapping:
        _check_mapping(mapping, queues, objects)
        # Without numbers the queues go round, and the first entry has the first one.
        thread = next(e["iothread"] for e in mapping if not e.get("vqs") or 0 in e["vqs"])
    if not thread:
        return None
    found = objects.iothread(thread)
    return None if found is None else found.context


def _check_mapping(
    mapping: Sequence[dict[str, Any]], queues: int, objects: ObjectContainer
) -> None:
    """Whether each queue has one iothread (``iothread_vq_mapping_validate``)."""
    threads: set[str] = set()
    taken: set[int] = set()
    for entry in mapping:
        thread = entry["iothread"]
        if objects.iothread(thread) is None:
            raise GenericError(f'IOThread "{thread}" object does not exist')
        if thread in threads:
            raise GenericError(f'duplicate IOThread name "{thread}" in iothread-vq-mapping')
        threads.add(thread)
        if bool(entry.get("vqs")) is not bool(mapping[0].get("vqs")):
            raise GenericError(
                "either all items in iothread-vq-mapping must have vqs or none of them must have it"
            )
        for queue in entry.get("vqs", ()):
            if queue >= queues:
                raise GenericError(
                    f'vq index {queue} for IOThread "{thread}" must be less than num_queues'
                    f" {queues} in iothread-vq-mapping"
                )
            if queue in taken:
                raise GenericError(
                    f'cannot assign vq {queue} to IOThread "{thread}" because it is already'
                    " assigned"
                )
            taken.add(queue)
    missing = next((queue for queue in range(queues) if queue not in taken), None)
    if mapping[0].get("vqs") and missing is not None:
        raise GenericError(f"missing vq {missing} IOThread assignment in iothread-vq-mapping")
