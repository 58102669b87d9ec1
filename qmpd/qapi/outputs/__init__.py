"""What is made from a compiled schema: models, the type table, listings."""
