"""The control monitor: QMP for what QEMU cannot do.

It speaks ``schema/sim.json`` and nothing else, so that the ordinary monitors show exactly QEMU's
commands.  Like them it is without sockets: bytes in, bytes out (`qmpd.monitor.monitor`).

One module for each group of commands, whose table ``HANDLERS`` it has; each handler is a call of
a method of the bench.
"""
