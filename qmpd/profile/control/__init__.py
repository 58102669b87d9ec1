"""What the control monitor speaks: the tables of ``schema/sim.json``, generated."""
