"""The QAPI schema language: compiler, generated models, introspection."""
