"""Recorded sessions: what a client and a QMP server have said to each other.

They are written by `qmpd record`, played to a machine by `qmpd compare`, and to a client by `qmpd
replay`.
"""
