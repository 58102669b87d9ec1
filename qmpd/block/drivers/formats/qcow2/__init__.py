"""The qcow2 format driver: the real on-disk format, read and written through the `file` child."""

from qmpd.block.drivers.formats.qcow2.driver import Qcow2

__all__ = ["Qcow2"]
