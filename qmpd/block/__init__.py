"""The block layer: nodes, drivers, backends, bitmaps, images."""
