"""One emulated machine: graph, jobs, devices, objects, run state."""
