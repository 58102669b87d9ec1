"""What happens to a machine, in one order: recorded as it happens, read and asserted afterwards."""
