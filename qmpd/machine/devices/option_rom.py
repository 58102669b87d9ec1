"""Option ROMs of PCI devices: which file one is made of, and how large the ROM is then.

No guest runs what is in it, so nothing is read but the file's length. Follows
``pci_add_option_rom`` of ``hw/pci/pci.c``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from qmpd.errors import GenericError
from qmpd.machine.devices.sizes import UNSET

if TYPE_CHECKING:
    from qmpd.block.images.host_files import HostFiles
    from qmpd.machine.devices.device import Device

ROMS: Final = {
    "virtio-net-pci": "efi-virtio.rom",
    "e1000": "efi-e1000.rom",
    "e1000e": "efi-e1000e.rom",
    "rtl8139": "efi-rtl8139.rom",
    "VGA": "vgabios-stdvga.bin",
    "cirrus-vga": "vgabios-cirrus.bin",
}
"""The files that models have where nobody names another one."""

SHIPPED: Final = {
    **{f"efi-{name}.rom": 249856 for name in ("e1000", "e1000e", "rtl8139")},
    "efi-eepro100.rom": 247808,
    "efi-ne2k_pci.rom": 245760,
    "efi-pcnet.rom": 246272,
    "efi-virtio.rom": 249344,
    "efi-vmxnet3.rom": 243712,
    **{f"pxe-{name}.rom": 75264 for name in ("e1000", "e1000e", "eepro100")},
    **{f"pxe-{name}.rom": 74752 for name in ("ne2k_pci", "pcnet")},
    **{f"pxe-{name}.rom": 75776 for name in ("rtl8139", "virtio")},
    "pxe-vmxnet3.rom": 74240,
    **{f"vgabios-{name}.bin": 39936 for name in ("ati", "qxl", "stdvga", "virtio", "vmware")},
    **{f"vgabios-{name}.bin": 39424 for name in ("cirrus", "isavga")},
    "vgabios-bochs-display.bin": 28672,
    "vgabios-ramfb.bin": 29184,
}
"""Lengths in bytes of the files that come with QEMU: where it is installed is of no matter."""

_MOST: Final = 2 << 30


def check_rom_size(device: Device) -> None:
    """Check the length that was asked for.

    :raises GenericError: it is no power of two
    """
    size = device.values.setdefault("romsize", UNSET)  # 5.2 does not tell it
    if size != UNSET and (not size or size & (size - 1)):
        raise GenericError(f"ROM size {size} is not a power of two")


def add_option_rom(device: Device, host: HostFiles) -> None:
    """Settle `romfile` and `romsize` of a PCI device.

    :param host: where files are looked for that do not come with QEMU
    :raises GenericError: there is no such file, or it does not fit
    """
    name = device.values.setdefault("romfile", ROMS.get(device.model, ""))
    if not name:
        return
    if not device.get("rombar"):
        if device.hotplugged:
            raise GenericError("Hot-plugged device without ROM bar can't have an option ROM")
        return
    length = _length(name, host)
    if not length:
        raise GenericError(f'romfile "{name}" is empty')
    if length > _MOST:
        raise GenericError(f'romfile "{name}" too large (size cannot exceed 2 GiB)')
    size = device.values["romsize"]
    if size == UNSET:
        device.values["romsize"] = 1 << (length - 1).bit_length()
    elif length > size:
        raise GenericError(f'romfile "{name}" ({length} bytes) is too large for ROM size {size}')


def _length(name: str, host: HostFiles) -> int:
    try:
        descriptor = host.open(name, os.O_RDONLY)
        try:
            return os.lseek(descriptor, 0, os.SEEK_END)
        finally:
            os.close(descriptor)
    except OSError:
        # it is not there, is out of reach, or has no end, as a FIFO
        if name in SHIPPED:
            return SHIPPED[name]
        raise GenericError(f'failed to find romfile "{name}"') from None
