"""Values of the schema at run time: reading, checking, policies, introspection."""
