"""Monitors on sockets: what stands between an event loop and a machine."""
