"""The mirror job, and the commit of an active image."""
