"""The commit and stream jobs, which merge images of a chain."""
