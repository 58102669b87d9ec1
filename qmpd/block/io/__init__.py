"""Reading and writing above a node: backends, throttling, statistics, copies."""
