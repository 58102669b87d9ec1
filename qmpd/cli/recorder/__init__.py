"""``qmpd record-machine``: asks a real QEMU for what `qmpd.profile.recorded` answers from."""
