"""Fuzzing: input that nobody would send on purpose, to a daemon that has to stand it.

``python -m tests.fuzz --help`` says how it is run; `make fuzz` runs all of it.
"""
