"""What everything else uses: QEMU's containers, scalars, sizes and identifiers."""
