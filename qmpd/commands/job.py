"""Commands of schema module job."""
