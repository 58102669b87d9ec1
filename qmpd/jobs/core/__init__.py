"""What all jobs have in common: states, verbs, transactions, the list of jobs."""
