"""qmpd: QEMU's block layer as a programmable test bench, spoken to by QMP."""

__version__ = "0.1.0"
