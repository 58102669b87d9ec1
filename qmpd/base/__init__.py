"""QEMU's containers and the scalars of its options: order, sizes, names."""
