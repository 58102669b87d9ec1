"""The devices of a machine: buses, block devices on them, and the tree that shows them."""
