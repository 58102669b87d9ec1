"""The monitors: commands, events, QMP and HMP."""
