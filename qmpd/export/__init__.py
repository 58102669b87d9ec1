"""Block exports: nodes made available to others, and the NBD protocol that serves them."""
