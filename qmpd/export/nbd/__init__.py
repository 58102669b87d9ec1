"""Exports by NBD: the protocol, without its sockets."""
