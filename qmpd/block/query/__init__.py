"""Read-only views of the block graph, as queries answer them."""
