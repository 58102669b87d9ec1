"""Character devices: what monitors are connected to."""
