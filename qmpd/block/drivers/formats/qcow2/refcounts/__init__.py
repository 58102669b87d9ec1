"""Reference counts of clusters, allocation, and the guard of the metadata."""
