"""Reference counts: reading, growing, checking, rebuilding."""
