"""Exports by vhost-user-blk: the protocol, without its sockets."""
