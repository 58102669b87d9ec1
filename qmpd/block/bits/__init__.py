"""Dirty bitmaps: their bits, their successors, and the rules of their use."""
