"""Power loss: images that know what a disk may have kept of them."""
