"""Time and tasks: the clocks, timers and events of a machine."""
