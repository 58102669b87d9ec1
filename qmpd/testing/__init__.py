"""Machines for tests, of clients in any language."""
