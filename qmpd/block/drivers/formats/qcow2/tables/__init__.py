"""L1 and L2 tables: entries, cache, mapping, overlap checks."""
