"""Machines as values: checkpoints, forks, and files that hold a machine's images."""
