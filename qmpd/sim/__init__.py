"""What QEMU cannot do: the test bench around a machine.

Faults, power loss, schedules, the journal, checkpoints, forks, record and replay.  Nothing of it
shows on an ordinary monitor; a program reaches it by `qmpd.Machine`, a process by its control
monitor.
"""
