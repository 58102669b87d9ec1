"""Migration: a machine's disks and dirty bitmaps go from one process to another.

Machines of qmpd have no memory and no CPUs, so a stream carries what the block layer has.
"""
