"""The device models that qmpd has, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Kind:
    """One device model.

    :param name: its name
    :param bus: the type of bus it goes on
    :param behind: for a virtio PCI proxy, the model of the virtio device behind it
    :param is_cd: whether it is a CD-ROM drive, which never writes
    :param removable: whether its medium can always be taken out
    :param has_tray: whether a removable medium lies in a tray
    :param keeps_io_status: whether query-block shows an io-status for it
    :param counts_discards: whether query-blockstats counts its discards
    :param core: the part of an xHCI controller that has the ports
    :param is_bridge: whether it is a PCI bridge
    :param keeps_drive: whether a drive made by ``-drive`` remains when it is unplugged
    :param waits_for_disk: whether its reset and its end wait for the requests of its disk
    :param knows_iothreads: whether its drive may be a node that is in an iothread
    :param makes_disk: whether it has a SCSI disk of its own for its drive
    :param late_properties: properties of the instance, which QOM lists after those of the class
    :param links_host: whether its link `host` points to itself
    :param migratable: whether its state can be saved
    :param usb_ports: how many ports a USB controller has
    :param hotpluggable: whether it may come and go while the machine is there
    :param auto: the values of properties whose value ``auto`` leaves them to the device
    """

    name: str
    bus: str
    behind: str | None = None
    is_cd: bool = False
    removable: bool = False
    has_tray: bool = False
    keeps_io_status: bool = True
    counts_discards: bool = True
    core: str = ""
    is_bridge: bool = False
    keeps_drive: bool = False
    waits_for_disk: bool = False
    knows_iothreads: bool = False
    makes_disk: bool = False
    late_properties: tuple[str, ...] = ()
    links_host: bool = False
    migratable: bool = True
    auto: Mapping[str, str] = field(default_factory=dict)
    usb_ports: int = 0
    hotpluggable: bool = True

    @property
    def asks_guest(self) -> bool:
        """Whether unplugging needs the guest, which in qmpd only lets go at a reset."""
        return self.bus == "PCI"


_INERT: Final = (
    *(
        kind
        for name in ("balloon", "rng", "serial", "net")
        for kind in (
            Kind(f"virtio-{name}-pci", "PCI", behind=f"virtio-{name}-device"),
            Kind(f"virtio-{name}-device", "virtio-bus"),
        )
    ),
    *(Kind(name, "virtio-serial-bus") for name in ("virtserialport", "virtconsole")),
    *(Kind(name, "ISA") for name in ("isa-serial", "isa-parallel")),
    *(Kind(name, "usb-bus") for name in ("usb-tablet", "usb-mouse", "usb-kbd")),
    *(
        Kind(f"ich9-usb-{kind}{number}", "PCI", usb_ports=ports, hotpluggable=False)
        for kind, numbers, ports in (("ehci", (1, 2), 6), ("uhci", range(1, 7), 2))
        for number in numbers
    ),
    *(Kind(name, "PCI", hotpluggable=False) for name in ("VGA", "cirrus-vga")),
    *(Kind(name, "PCI") for name in ("e1000", "e1000e", "rtl8139", "i6300esb")),
)
"""Models that only have a place and properties: no guest is there to use them."""

KINDS: Final = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("virtio-blk-pci", "PCI", behind="virtio-blk-device"),
            Kind(
                "virtio-blk-device",
                "virtio-bus",
                counts_discards=False,
                waits_for_disk=True,
            ),
            Kind("virtio-scsi-pci", "PCI", behind="virtio-scsi-device"),
            Kind("virtio-scsi-device", "virtio-bus"),
            Kind("scsi-hd", "SCSI", has_tray=True, waits_for_disk=True, knows_iothreads=True),
            Kind(
                "scsi-cd",
                "SCSI",
                is_cd=True,
                removable=True,
                has_tray=True,
                waits_for_disk=True,
                knows_iothreads=True,
            ),
            Kind("ide-hd", "IDE"),
            Kind("ide-cd", "IDE", is_cd=True, removable=True, has_tray=True),
            Kind("floppy", "floppy-bus", removable=True, keeps_io_status=False),
            Kind(
                "usb-storage",
                "usb-bus",
                makes_disk=True,
                late_properties=("attached", "bootindex"),
            ),
            Kind("nvme", "PCI", keeps_io_status=False, keeps_drive=True, migratable=False),
            Kind("piix3-usb-uhci", "PCI", usb_ports=2),
            Kind("usb-ehci", "PCI", usb_ports=6),
            Kind(
                "qemu-xhci",
                "PCI",
                core="xhci-core",
                links_host=True,
                auto={"msi": "off"},
                usb_ports=4,
            ),
            Kind("nec-usb-xhci", "PCI", core="xhci-core", links_host=True, usb_ports=4),
            Kind("pcie-root-port", "PCI"),
            Kind("pci-bridge", "PCI", is_bridge=True),
            Kind("lsi53c895a", "PCI"),
            *_INERT,
        )
    }
)
"""The models by name."""

DISPLAYS: Final = ("VGA", "cirrus-vga")
"""Those that show something."""

ALIASES: Final = MappingProxyType(
    {"virtio-blk": "virtio-blk-pci", "virtio-scsi": "virtio-scsi-pci", "lsi": "lsi53c895a"}
)
"""Other names of models."""
