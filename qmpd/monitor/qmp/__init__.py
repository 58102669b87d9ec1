"""QMP commands: one thin handler each, one module per schema module."""
