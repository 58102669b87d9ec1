"""Nodes, edges and drivers: what a block graph is made of."""
