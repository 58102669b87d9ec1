"""Faults: requests, commands, connections and processes that fail on demand.

Each is counted, exact, and installed and removed at once.  `Faults` is the list of those of one
machine.
"""
