"""What is behind ``import qmpd``: machines that a Python program holds.

`core.Core` is one machine and the monitor through which the program asks it; whatever a program
can ask is a coroutine there, which waits as the block layer's own do.  `machine.Machine` runs
these coroutines by hand, `aio.Machine` on an event loop, and `serving` in a thread while the
machine is behind a socket.
"""
