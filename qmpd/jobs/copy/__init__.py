"""The backup job."""
