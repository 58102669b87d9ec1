"""Jobs: their states and verbs, and what they do."""
