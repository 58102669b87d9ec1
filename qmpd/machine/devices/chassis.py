"""What devices need of the machine that they are in, and of each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qmpd.block.model.graph import Graph
    from qmpd.jobs.core.job_list import JobTable
    from qmpd.machine.devices.device import Device
    from qmpd.machine.objects import ObjectContainer
    from qmpd.profile import Profile


class Chassis(Protocol):
    """The machine, as its devices see it."""

    @property
    def graph(self) -> Graph:
        """The nodes and backends, and the machine's services."""

    @property
    def jobs(self) -> JobTable:
        """The jobs; those on a drive end with the drive's device."""

    @property
    def objects(self) -> ObjectContainer:
        """The user-creatable objects, which links of devices lead to."""

    @property
    def profile(self) -> Profile:
        """The version of QEMU, which has the tables of device models."""

    @property
    def cpus(self) -> int:
        """Number of CPUs; virtio devices have as many queues by default."""

    @property
    def creation_done(self) -> bool:
        """Whether the machine has been built: from then on devices are hotplugged."""

    @property
    def only_migratable(self) -> bool:
        """Whether devices are refused whose state cannot be saved."""

    def chardevs(self) -> Collection[str]:
        """The ids of the process's character devices."""

    def chardev_is_open(self, label: str) -> bool:
        """Whether there is somebody at the far end of a character device."""

    def stop_for_io_error(self) -> None:
        """Pause the guest until `cont`."""

    def ask_to_unplug(self, device: Device) -> None:
        """Ask the guest to let go of a device."""


class Devices(Protocol):
    """All devices of a machine."""

    @property
    def chassis(self) -> Chassis:
        """The machine that they are in."""

    @property
    def board_adapters(self) -> int:
        """How many network adapters the board has."""

    @property
    def netdevs(self) -> Collection[str]:
        """The ids of its network backends."""

    def __iter__(self) -> Iterator[Device]:
        """The devices that were plugged in, and those that the board made for drives."""

    def parts(self) -> Iterator[Device]:
        """All devices, with the parts that they are made of."""

    def count_usb_bus(self) -> int:
        """The number of a new USB bus: how many there were before it."""

    def new_subsystem(self) -> str:
        """The path of a subsystem that an NVMe controller makes."""

    def usb_product(self, model: str) -> str:
        """What QEMU calls a USB device of this model."""

    def unplugs_by_acpi(self, bridge: Device) -> bool:
        """Whether devices behind a bridge are plugged in and unplugged by ACPI."""

    def bus_name(self, stem: str) -> str:
        """The name of a new bus whose device has no id: ``STEM.0``, ``STEM.1``, ..."""
