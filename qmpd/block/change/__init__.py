"""Changes of the block graph: open, reopen, replace, permissions, drains."""
