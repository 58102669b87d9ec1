"""The device models that qmpd has: where they go, what they offer, their properties."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

ON_ERROR: Final = ("report", "ignore", "enospc", "stop", "auto")
ON_OFF_AUTO: Final = ("auto", "on", "off")

_BLOCK: Final = {
    "drive": "str",
    "logical_block_size": "size32",
    "physical_block_size": "size32",
    "min_io_size": "size32",
    "opt_io_size": "size32",
    "discard_granularity": "size32",
    "backend_defaults": "OnOffAuto",
    "write-cache": "OnOffAuto",
    "share-rw": "bool",
    "account-invalid": "OnOffAuto",
    "account-failed": "OnOffAuto",
    "stats-intervals": "str",
    "bootindex": "int32",
}
_ERRORS: Final = {"rerror": "BlockdevOnError", "werror": "BlockdevOnError"}
_PCI: Final = {"addr": "str", "romfile": "str", "rombar": "int32", "multifunction": "bool"}
_SCSI: Final = {
    **_BLOCK,
    **_ERRORS,
    "channel": "uint32",
    "scsi-id": "uint32",
    "lun": "uint32",
    "ver": "str",
    "serial": "str",
    "vendor": "str",
    "product": "str",
    "device_id": "str",
    "removable": "bool",
    "dpofua": "bool",
    "wwn": "uint64",
    "port_wwn": "uint64",
    "port_index": "uint16",
    "rotation_rate": "uint16",
    "scsi_version": "int32",
    "max_unmap_size": "uint64",
    "max_io_size": "uint64",
}
_IDE: Final = {
    **_BLOCK,
    **_ERRORS,
    "unit": "uint32",
    "ver": "str",
    "wwn": "uint64",
    "serial": "str",
    "model": "str",
    "rotation_rate": "uint16",
    "bios-chs-trans": "str",
}
_VIRTIO: Final = {"iothread": "str", "ioeventfd": "bool", "disable-modern": "bool"}


@dataclass(frozen=True)
class Kind:
    """One device model.

    `bus`: the type of bus it goes on.  `offers`: the type of the bus it brings.  `is_disk`,
    `is_cd`: what it is for a guest.  `needs_drive`: whether it cannot be empty.  `resizable`:
    whether its medium may be resized by others.  `backend_path`: what is added to the device's
    own path where its backend is attached.
    """

    name: str
    bus: str
    properties: MappingProxyType[str, str]
    offers: str | None = None
    is_disk: bool = False
    is_cd: bool = False
    is_floppy: bool = False
    needs_serial: bool = False
    writes_always: bool = False
    keeps_io_status: bool = True
    backend_path: str = ""

    @property
    def has_drive(self) -> bool:
        """Whether it has a block backend."""
        return self.is_disk or self.is_cd or self.is_floppy


def _kind(name: str, bus: str, properties: dict[str, str], **more: object) -> Kind:
    everything = {"id": "str", "bus": "str", "driver": "str", **properties}
    return Kind(name, bus, MappingProxyType(everything), **more)  # type: ignore[arg-type]


KINDS: Final = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            _kind(
                "virtio-blk-pci",
                "PCI",
                {
                    **_BLOCK,
                    **_ERRORS,
                    **_PCI,
                    **_VIRTIO,
                    "serial": "str",
                    "num-queues": "uint16",
                    "queue-size": "uint16",
                    "seg-max-adjust": "bool",
                    "discard": "bool",
                    "write-zeroes": "bool",
                    "report-discard-granularity": "bool",
                    "max-discard-sectors": "uint32",
                    "max-write-zeroes-sectors": "uint32",
                    "request-merging": "bool",
                    "config-wce": "bool",
                },
                is_disk=True,
                backend_path="/virtio-backend",
            ),
            _kind(
                "virtio-scsi-pci",
                "PCI",
                {
                    **_PCI,
                    **_VIRTIO,
                    "num_queues": "uint32",
                    "virtqueue_size": "uint32",
                    "max_sectors": "uint32",
                    "cmd_per_lun": "uint32",
                    "hotplug": "bool",
                },
                offers="SCSI",
            ),
            _kind("scsi-hd", "SCSI", _SCSI, is_disk=True),
            _kind("scsi-cd", "SCSI", _SCSI, is_cd=True),
            _kind("ide-hd", "IDE", _IDE, is_disk=True, writes_always=True),
            _kind("ide-cd", "IDE", _IDE, is_cd=True),
            _kind(
                "floppy",
                "floppy-bus",
                {**_BLOCK, "unit": "uint32", "drive-type": "str"},
                is_floppy=True,
                keeps_io_status=False,
            ),
            _kind(
                "usb-storage",
                "usb-bus",
                {**_BLOCK, **_ERRORS, "serial": "str", "removable": "bool", "port": "str"},
                is_disk=True,
            ),
            _kind(
                "nvme",
                "PCI",
                {
                    **_BLOCK,
                    **_PCI,
                    "serial": "str",
                    "cmb_size_mb": "uint32",
                    "num_queues": "uint32",
                    "max_ioqpairs": "uint32",
                    "mdts": "uint8",
                },
                is_disk=True,
                needs_serial=True,
                keeps_io_status=False,
            ),
            _kind("piix3-usb-uhci", "PCI", _PCI, offers="usb-bus"),
            _kind("qemu-xhci", "PCI", {**_PCI, "p2": "uint32", "p3": "uint32"}, offers="usb-bus"),
            _kind("nec-usb-xhci", "PCI", {**_PCI, "p2": "uint32"}, offers="usb-bus"),
            _kind("usb-ehci", "PCI", _PCI, offers="usb-bus"),
        )
    }
)
"""The models by name."""

ALIASES: Final = MappingProxyType(
    {"virtio-blk": "virtio-blk-pci", "virtio-scsi": "virtio-scsi-pci"}
)
"""Other names of models."""

_INTEGERS: Final = {
    "uint8": 8,
    "uint16": 16,
    "uint32": 32,
    "uint64": 64,
    "int32": 32,
    "size32": 32,
}


def integer_bits(kind: str) -> int | None:
    """Width of an integer property; None for what is no integer."""
    return _INTEGERS.get(kind)
