"""qmpd beside qemu-storage-daemon, in turn, in one run: ``python -m benchmarks``."""
