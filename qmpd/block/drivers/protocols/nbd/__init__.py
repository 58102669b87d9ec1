"""nbd: a client of NBD servers."""
