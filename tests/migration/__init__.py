"""Migration: two machines, of qmpd or of QEMU, and what goes from one to the other."""
