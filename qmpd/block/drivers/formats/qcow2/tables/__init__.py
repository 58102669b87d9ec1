"""Metadata tables as data: entries, snapshots, writes under way, and the cache of tables."""
